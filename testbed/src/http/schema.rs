//! The shape of request bodies: reads them field by field and reports every problem, as FastAPI does.

use serde_json::{Map, Value, json};

use super::refusal::{Problem, Refusal};
use crate::view::Kind;

/// The body of `POST /configure`, with the right types but perhaps without meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawConfigure {
    pub(crate) duration: Option<i64>,
    pub(crate) nfft: Option<i64>,
    pub(crate) height: i64,
    pub(crate) channels: (i64, i64),
    pub(crate) frequencies: Frequencies,
    pub(crate) start: Option<i64>,
    pub(crate) end: Option<i64>,
    pub(crate) view: RawView,
}

/// How a frequency range was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frequencies {
    Absent,
    Null,
    Range(i64, i64),
}

/// A view type of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawView {
    Served(Kind),
    /// 3, which the server knows and does not serve.
    Heatmap,
}

/// Reads the fields of one object; remembers every problem.
struct Reader<'a> {
    loc: Vec<String>,
    object: &'a Map<String, Value>,
    problems: Vec<Problem>,
}

/// Reads `POST /configure`. Unknown fields are ignored, as observed.
pub(crate) fn configure(body: &Value) -> Result<RawConfigure, Refusal> {
    let mut reader = Reader::body(body)?;
    let duration = reader.optional_integer("displayTimeAxisDuration");
    let nfft = reader.optional_integer("nfftSelection");
    let height = reader.object("displayInfo", |info| info.integer("height"));
    let channels = reader.object("channels", |channels| {
        Some((channels.integer("min")?, channels.integer("max")?))
    });
    let frequencies = match reader.object.get("frequencyRange") {
        None => Some(Frequencies::Absent),
        Some(Value::Null) => Some(Frequencies::Null),
        Some(_) => reader
            .object("frequencyRange", |range| {
                Some((range.integer("min")?, range.integer("max")?))
            })
            .map(|(min, max)| Frequencies::Range(min, max)),
    };
    let start = reader.optional_integer("start_time");
    let end = reader.optional_integer("end_time");
    let view = reader.view("view_type");
    let read = || {
        Some(RawConfigure {
            duration,
            nfft,
            height: height?,
            channels: channels?,
            frequencies: frequencies?,
            start,
            end,
            view: view?,
        })
    };
    match read() {
        Some(raw) if reader.problems.is_empty() => Ok(raw),
        _ => Err(Refusal::Schema(reader.problems)),
    }
}

/// Reads `POST /recordings_in_time_range`: start and end.
pub(crate) fn time_range(body: &Value) -> Result<(i64, i64), Refusal> {
    let mut reader = Reader::body(body)?;
    let (start, end) = (reader.integer("start_time"), reader.integer("end_time"));
    start.zip(end).ok_or(Refusal::Schema(reader.problems))
}

/// A field that must be there for this view.
pub(crate) fn missing(name: &str) -> Refusal {
    Refusal::Schema(vec![Problem {
        kind: "missing",
        loc: vec!["body".to_owned(), name.to_owned()],
        msg: "Field required".to_owned(),
        input: Value::Null,
    }])
}

impl<'a> Reader<'a> {
    fn body(body: &'a Value) -> Result<Self, Refusal> {
        let loc = vec!["body".to_owned()];
        match body {
            Value::Object(object) => Ok(Self {
                loc,
                object,
                problems: Vec::new(),
            }),
            other => Err(Refusal::Schema(vec![not_an_object(loc, other)])),
        }
    }

    fn object<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Option<T> {
        let loc = self.at(name);
        match self.object.get(name) {
            None => self.report(
                "missing",
                loc,
                "Field required",
                Value::Object(self.object.clone()),
            ),
            Some(Value::Object(object)) => {
                let mut inner = Reader {
                    loc,
                    object,
                    problems: Vec::new(),
                };
                let value = read(&mut inner);
                self.problems.append(&mut inner.problems);
                value
            }
            Some(other) => {
                self.problems.push(not_an_object(loc, other));
                None
            }
        }
    }

    fn integer(&mut self, name: &str) -> Option<i64> {
        match self.object.get(name) {
            None => {
                let loc = self.at(name);
                self.report(
                    "missing",
                    loc,
                    "Field required",
                    Value::Object(self.object.clone()),
                )
            }
            Some(value) => self.read_integer(name, value),
        }
    }

    /// None if absent, null or wrong; the last is a problem.
    fn optional_integer(&mut self, name: &str) -> Option<i64> {
        match self.object.get(name) {
            None | Some(Value::Null) => None,
            Some(value) => self.read_integer(name, value),
        }
    }

    fn read_integer(&mut self, name: &str, value: &Value) -> Option<i64> {
        if let Some(integer) = value.as_i64().or_else(|| whole(value.as_f64()?)) {
            return Some(integer);
        }
        let (kind, msg) = match value {
            Value::Number(number) if number.is_f64() => (
                "int_from_float",
                "Input should be a valid integer, got a number with a fractional part",
            ),
            Value::Number(_) => (
                "int_parsing_size",
                "Unable to parse input as an integer, exceeded maximum size",
            ),
            Value::String(_) => (
                "int_parsing",
                "Input should be a valid integer, unable to parse string as an integer",
            ),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                ("int_type", "Input should be a valid integer")
            }
        };
        let loc = self.at(name);
        self.report(kind, loc, msg, value.clone())
    }

    /// The view type: a number, or its digits as a string, as observed.
    fn view(&mut self, name: &str) -> Option<RawView> {
        let loc = self.at(name);
        let Some(value) = self.object.get(name) else {
            return self.report(
                "missing",
                loc,
                "Field required",
                Value::Object(self.object.clone()),
            );
        };
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        match number {
            Some(0) => Some(RawView::Served(Kind::MultiChannel)),
            Some(1) => Some(RawView::Served(Kind::SingleChannel)),
            Some(2) => Some(RawView::Served(Kind::Waterfall)),
            Some(3) => Some(RawView::Heatmap),
            _ => self.report("enum", loc, "Input should be 0, 1, 2 or 3", value.clone()),
        }
    }

    fn at(&self, name: &str) -> Vec<String> {
        let mut loc = self.loc.clone();
        loc.push(name.to_owned());
        loc
    }

    fn report<T>(
        &mut self,
        kind: &'static str,
        loc: Vec<String>,
        msg: &str,
        input: Value,
    ) -> Option<T> {
        self.problems.push(Problem {
            kind,
            loc,
            msg: msg.to_owned(),
            input,
        });
        None
    }
}

/// A number without a fractional part, which the schema takes for an integer: 200.0.
fn whole(number: f64) -> Option<i64> {
    /// Below it, every whole number is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is whole and less than 2^53 where it counts"
    )]
    let integer = number as i64;
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(integer)
}

fn not_an_object(loc: Vec<String>, found: &Value) -> Problem {
    Problem {
        kind: "model_attributes_type",
        loc,
        msg: "Input should be a valid dictionary or object to extract fields from".to_owned(),
        // An array of a megabyte is not worth repeating.
        input: if found.is_array() {
            json!([])
        } else {
            found.clone()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Value {
        json!({
            "displayTimeAxisDuration": 30, "nfftSelection": 1024, "displayInfo": { "height": 200 },
            "channels": { "min": 1, "max": 50 }, "frequencyRange": { "min": 0, "max": 500 },
            "start_time": null, "end_time": null, "view_type": "0", "unknown": [1],
        })
    }

    fn problems(change: impl FnOnce(&mut Value)) -> Vec<(&'static str, String)> {
        let mut body = body();
        change(&mut body);
        match configure(&body) {
            Ok(_) => Vec::new(),
            Err(Refusal::Schema(problems)) => problems
                .into_iter()
                .map(|p| (p.kind, p.loc.join(".")))
                .collect(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_the_usual_request() {
        let raw = configure(&body()).unwrap();
        assert_eq!((raw.height, raw.channels, raw.start), (200, (1, 50), None));
        assert_eq!(raw.view, RawView::Served(Kind::MultiChannel));
        assert_eq!(raw.frequencies, Frequencies::Range(0, 500));
    }

    #[test]
    fn names_every_problem_at_once() {
        let found = problems(|body| {
            body["channels"].as_object_mut().unwrap().remove("min");
            body["displayInfo"] = json!(7);
            body["nfftSelection"] = json!("many");
            body["view_type"] = json!(9);
            body["end_time"] = json!(1.5);
        });
        let expect = [
            ("int_parsing", "body.nfftSelection"),
            ("model_attributes_type", "body.displayInfo"),
            ("missing", "body.channels.min"),
            ("int_from_float", "body.end_time"),
            ("enum", "body.view_type"),
        ];
        assert_eq!(found, expect.map(|(kind, loc)| (kind, loc.to_owned())));
    }

    #[test]
    fn a_number_without_a_fraction_is_an_integer() {
        let mut body = body();
        body["displayInfo"]["height"] = json!(200.0);
        body["end_time"] = json!(-0.0);
        let raw = configure(&body).unwrap();
        assert_eq!((raw.height, raw.end), (200, Some(0)));
    }

    #[test]
    fn table_of_wrong_types() {
        for (value, kind) in [
            (json!(true), "int_type"),
            (json!([]), "int_type"),
            (json!({}), "int_type"),
            (json!("200"), "int_parsing"),
            (json!(200.5), "int_from_float"),
            (json!(1e300), "int_from_float"),
            (json!(18_446_744_073_709_551_615_u64), "int_parsing_size"),
            (Value::Null, "int_type"),
        ] {
            let found = problems(|body| body["displayInfo"]["height"] = value.clone());
            assert_eq!(
                found,
                [(kind, "body.displayInfo.height".to_owned())],
                "{value}"
            );
        }
        assert!(configure(&json!([1])).is_err());
    }
}
