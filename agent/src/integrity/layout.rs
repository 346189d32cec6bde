//! Turns the field names of a plan's `integrity` into places in an encoded message.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use testmesh_shared::integrity::{
    self, Cardinality, FieldPath, Numbering, NumberingError, Scalar, Scanner, Splitter, Step,
};
use testmesh_shared::plan::model::Wrap;
use testmesh_shared::plan::{self, Integrity, Position, TimeUnit, Truth, TruthOf, nearest};

/// Where the fields of a stage's `integrity` are in its stream's messages. Shared by all streams of the stage.
#[derive(Debug)]
pub struct Layout {
    /// Cloned for each stream.
    pub(super) scanner: Scanner,
    /// Nanoseconds in the unit of `sent_at`.
    pub(super) sent_at_unit_ns: Option<u64>,
    /// How rows are numbered.
    pub(super) numbering: Numbering,
    /// Divides payloads that many rows share; cloned for each stream. None: a message has one row.
    pub(super) splitter: Option<Splitter>,
    /// Rows are told apart by something else than their number, or compared by a number that may come again.
    pub(super) has_key: bool,
    /// Rows have numbers. Otherwise each message is a row, and only whole streams are compared.
    pub(super) ordered: bool,
}

/// A field that is not there, or of the wrong type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutProblem {
    /// Where the plan names it.
    pub position: Position,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub hint: String,
}

impl Layout {
    /// Finds every field that `integrity` names.
    ///
    /// # Errors
    ///
    /// All fields that are not there, or cannot be what they are named for.
    pub fn resolve(
        integrity: &Integrity,
        message: &MessageDescriptor,
    ) -> Result<Self, Vec<LayoutProblem>> {
        let mut problems = Vec::new();
        let mut find = |name: &plan::FieldPath, role: Role| match resolve(name, message, role) {
            Ok(path) => Some(path),
            Err(problem) => {
                problems.push(problem);
                None
            }
        };
        let ordered = integrity.sequence.is_some();
        let sequence = match &integrity.sequence {
            Some(name) => find(name, Role::Sequence),
            None => Some(unnumbered()),
        };
        let own_key = integrity.key.as_ref().filter(|key| {
            integrity
                .sequence
                .as_ref()
                .is_some_and(|sequence| sequence.names != key.names)
        });
        let key = own_key.and_then(|name| find(name, Role::Key));
        let payload = integrity
            .payload
            .as_ref()
            .and_then(|name| find(name, Role::Payload));
        let sent_at = integrity
            .sent_at
            .as_ref()
            .and_then(|sent_at| find(&sent_at.field, Role::SentAt));
        let numbering = sequence
            .as_ref()
            .map(|path| numbering(integrity, path.scalar()));
        if let (Some(Err(error)), Some(name)) = (&numbering, &integrity.sequence) {
            problems.push(LayoutProblem {
                position: name.position,
                message: error.to_string(),
                hint: "write a smaller `step`, or a greater `wrap`".to_owned(),
            });
        }
        let (Some(sequence), Some(Ok(numbering)), true) =
            (sequence, numbering, problems.is_empty())
        else {
            return Err(problems);
        };
        let layout = integrity::Layout {
            sequence,
            key,
            payload,
            sent_at,
        };
        let sent_at_unit_ns = integrity
            .sent_at
            .as_ref()
            .map(|sent_at| nanoseconds(sent_at.unit));
        Ok(Self {
            scanner: Scanner::new(&layout),
            sent_at_unit_ns,
            splitter: integrity.split.map(Splitter::new),
            has_key: own_key.is_some() || (numbering.starts_again() && compares_rows(integrity)),
            numbering,
            ordered,
        })
    }
}

/// Whether rows are looked up by their keys.
fn compares_rows(integrity: &Integrity) -> bool {
    match integrity.truth {
        Some(Truth::Agree { of, .. }) => of == TruthOf::Rows,
        Some(Truth::Rows { .. } | Truth::Mongodb(_)) => true,
        _ => false,
    }
}

/// How rows are numbered, by a field of this type.
fn numbering(integrity: &Integrity, scalar: Scalar) -> Result<Numbering, NumberingError> {
    let by = Numbering::by(integrity.step)?;
    match integrity.wrap {
        None => Ok(by),
        Some(Wrap::At(numbers)) => by.starting_again_at(numbers),
        Some(Wrap::Type) => by.starting_again_with(scalar),
    }
}

/// A field that no message has: its absence makes each message one row.
fn unnumbered() -> FieldPath {
    const NO_FIELD: u32 = (1 << 29) - 1;
    FieldPath::top(NO_FIELD, Cardinality::Single, Scalar::Int64)
        .expect("it is the greatest field number")
}

const fn nanoseconds(unit: TimeUnit) -> u64 {
    match unit {
        TimeUnit::Seconds => 1_000_000_000,
        TimeUnit::Milliseconds => 1_000_000,
        TimeUnit::Microseconds => 1_000,
        TimeUnit::Nanoseconds => 1,
    }
}

/// What a field is named for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Sequence,
    Key,
    Payload,
    SentAt,
}

impl Role {
    /// Whether a field of this type may play the role, or what it would have to be.
    fn accepts(self, scalar: Scalar) -> Result<(), &'static str> {
        match self {
            Self::Sequence if !scalar.is_integer() => Err("a sequence is a whole number"),
            Self::Key if scalar == Scalar::Message => Err("a key is a number, a string or bytes"),
            Self::SentAt if !scalar.is_number() => Err("a time of sending is a number"),
            Self::Sequence | Self::Key | Self::Payload | Self::SentAt => Ok(()),
        }
    }
}

fn resolve(
    name: &plan::FieldPath,
    message: &MessageDescriptor,
    role: Role,
) -> Result<FieldPath, LayoutProblem> {
    let problem = |message: String, hint: String| LayoutProblem {
        position: name.position,
        message,
        hint,
    };
    let mut parents = Vec::new();
    let mut within = message.clone();
    let mut names = name.names.iter().peekable();
    while let Some(part) = names.next() {
        let Some(field) = within.get_field_by_name(part) else {
            return Err(problem(
                format!("{} has no field `{part}`", within.full_name()),
                suggest(part, &within),
            ));
        };
        let step = step(&field);
        if names.peek().is_none() {
            let path = FieldPath::new(parents, step, scalar(&field.kind())).map_err(|error| {
                problem(error.to_string(), "name a field further up".to_owned())
            })?;
            return match role.accepts(path.scalar()) {
                Ok(()) => Ok(path),
                Err(want) => {
                    let kind = if field.is_list() { "repeated " } else { "" };
                    let message =
                        format!("`{name}` is of type {kind}{:?}, but {want}", field.kind());
                    Err(problem(message, "name another field".to_owned()))
                }
            };
        }
        match field.kind() {
            Kind::Message(inner) if !field.is_group() && !field.is_map() => within = inner,
            kind => {
                let message =
                    format!("`{part}` in `{name}` is of type {kind:?}, which has no fields");
                return Err(problem(
                    message,
                    format!("name `{part}` itself, or a field of a message"),
                ));
            }
        }
        parents.push(step);
    }
    Err(problem(
        "a field is named by at least one name".to_owned(),
        "name a field".to_owned(),
    ))
}

fn suggest(name: &str, within: &MessageDescriptor) -> String {
    let fields: Vec<String> = within
        .fields()
        .map(|field| field.name().to_owned())
        .collect();
    nearest(name, fields.iter().map(String::as_str)).map_or_else(
        || format!("it has {}", fields.join(", ")),
        |near| format!("did you mean `{near}`?"),
    )
}

fn step(field: &FieldDescriptor) -> Step {
    let cardinality = if field.is_list() || field.is_map() {
        Cardinality::Repeated
    } else {
        Cardinality::Single
    };
    Step {
        number: field.number(),
        cardinality,
    }
}

fn scalar(kind: &Kind) -> Scalar {
    match kind {
        Kind::Int32 | Kind::Enum(_) => Scalar::Int32,
        Kind::Int64 => Scalar::Int64,
        Kind::Uint32 => Scalar::Uint32,
        Kind::Uint64 => Scalar::Uint64,
        Kind::Sint32 => Scalar::Sint32,
        Kind::Sint64 => Scalar::Sint64,
        Kind::Fixed32 => Scalar::Fixed32,
        Kind::Fixed64 => Scalar::Fixed64,
        Kind::Sfixed32 => Scalar::Sfixed32,
        Kind::Sfixed64 => Scalar::Sfixed64,
        Kind::Bool => Scalar::Bool,
        Kind::Float => Scalar::Float,
        Kind::Double => Scalar::Double,
        Kind::String => Scalar::String,
        Kind::Bytes => Scalar::Bytes,
        Kind::Message(_) => Scalar::Message,
    }
}
