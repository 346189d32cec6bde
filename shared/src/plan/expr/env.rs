//! Functions of expressions: CEL's own and ours, in one environment for the whole process.
//!
//! CEL takes plain function pointers, so what a function needs beyond its arguments comes as a
//! hidden first argument: [`Meter`], which compiled expressions pass by the name [`METER`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use cel::common::types::{self, CelBool, CelBytes, CelDouble, CelInt, CelList, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{Env, ExecutionError};

use super::val::equal;

/// Steps of comprehensions and `range` that one evaluation may take.
pub const MAX_STEPS: u64 = 200_000;

/// The hidden variable that carries the [`Meter`].
pub(super) const METER: &str = "@meter";
/// Charges the size of a comprehension's range before it is walked.
pub(super) const CHARGE: &str = "@charge";
/// Equality that knows the containers of [`super::Value`].
pub(super) const EQUAL: &str = "@equal";
/// Membership that knows them.
pub(super) const WITHIN: &str = "@within";

/// Functions that plans may call as `name(…)`, with the documentation of ours.
pub(super) const FUNCTIONS: &[&str] = &[
    "bool", "bytes", "double", "dyn", "int", "matches", "size", "string", "type", "uint", "now",
    "uuid", "random", "b64", "hex", "range",
];

/// Functions that plans may call as `value.name(…)`.
pub(super) const METHODS: &[&str] = &["contains", "endsWith", "matches", "size", "startsWith"];

/// Macros, for hints only: the parser expands them.
pub(super) const MACROS: &[&str] = &["has", "all", "exists", "exists_one", "map", "filter"];

/// Functions that need the meter.
pub(super) const METERED: &[&str] = &["uuid", "random", "range"];

type Args<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// The environment every expression is compiled for and evaluated in.
pub(super) static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(environment()));

/// Random numbers of one session, repeatable from its seed; shared by its branches.
#[derive(Debug)]
pub struct Random(AtomicU64);

impl Random {
    /// Numbers that follow from the seed alone.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next number (SplitMix64: one addition on shared state, so branches may race for it
    /// without a lock).
    pub fn next(&self) -> u64 {
        const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self
            .0
            .fetch_add(GAMMA, Ordering::Relaxed)
            .wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0, below `bound`; 0 if `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or_default()
    }
}

/// What functions need beyond their arguments: steps left, and the session's random numbers.
#[derive(Debug)]
pub(super) struct Meter {
    left: AtomicU64,
    random: Option<Arc<Random>>,
}

impl Meter {
    pub(super) const fn new(random: Option<Arc<Random>>) -> Self {
        Self {
            left: AtomicU64::new(MAX_STEPS),
            random,
        }
    }

    fn charge(&self, steps: u64) -> Result<(), ExecutionError> {
        let left = self.left.load(Ordering::Relaxed);
        self.left
            .store(left.saturating_sub(steps), Ordering::Relaxed);
        if steps > left {
            return Err(failed(&format!("it takes more than {MAX_STEPS} steps")));
        }
        Ok(())
    }
}

impl Val for Meter {
    fn get_type(&self) -> &Type {
        Self::cel_type()
    }

    fn cel_type() -> &'static Type {
        &types::DYN_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        let left = AtomicU64::new(self.left.load(Ordering::Relaxed));
        Box::new(Self {
            left,
            random: self.random.clone(),
        })
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

impl StaticVal for Meter {}

/// An error of a function's own making; its text is shown as it is.
pub(super) fn failed(message: &str) -> ExecutionError {
    ExecutionError::function_error("", message)
}

fn environment() -> Env {
    let mut env = Env::stdlib().with_optional_support(false);
    let dynamic = |count: usize| (0..count).map(|_| types::DYN_TYPE).collect::<Vec<_>>();
    let overloads: Vec<(&str, &str, Vec<Type>, cel::common::functions::Function)> = vec![
        (CHARGE, "charge", dynamic(2), charge),
        (EQUAL, "equal", dynamic(2), are_equal),
        (WITHIN, "within", dynamic(2), within),
        ("now", "now", vec![], now),
        ("uuid", "uuid", dynamic(1), uuid),
        ("random", "random", dynamic(1), random_share),
        (
            "random",
            "random_below",
            vec![types::DYN_TYPE, types::INT_TYPE],
            random_below,
        ),
        (
            "random",
            "random_between",
            vec![types::DYN_TYPE, types::INT_TYPE, types::INT_TYPE],
            random_between,
        ),
        (
            "range",
            "range",
            vec![types::DYN_TYPE, types::INT_TYPE],
            range_to,
        ),
        (
            "range",
            "range_between",
            vec![types::DYN_TYPE, types::INT_TYPE, types::INT_TYPE],
            range_between,
        ),
        ("b64", "b64_string", vec![types::STRING_TYPE], b64),
        ("b64", "b64_bytes", vec![types::BYTES_TYPE], b64),
        ("hex", "hex_string", vec![types::STRING_TYPE], hex),
        ("hex", "hex_bytes", vec![types::BYTES_TYPE], hex),
    ];
    for (name, id, args, function) in overloads {
        env.add_overload(name, id, args, function)
            .expect("each overload has an id and a signature of its own");
    }
    env
}

/// The meter, which compiled expressions pass as the first argument.
fn meter<'a>(args: &'a Args<'_, '_>) -> Result<&'a Meter, ExecutionError> {
    let meter = args
        .first()
        .and_then(|first| first.as_any()?.downcast_ref());
    meter.ok_or_else(|| failed("a metered function is called without its meter"))
}

fn random_of<'a>(args: &'a Args<'_, '_>) -> Result<&'a Random, ExecutionError> {
    meter(args)?
        .random
        .as_deref()
        .ok_or_else(|| failed("there are no random numbers here"))
}

fn int(args: &Args<'_, '_>, at: usize) -> Result<i64, ExecutionError> {
    let value = args.get(at).and_then(|arg| arg.downcast_ref::<CelInt>());
    value
        .map(|value| *value.inner())
        .ok_or_else(|| failed("an int is expected"))
}

/// The bytes of a string or bytes argument.
fn content<'a>(args: &'a Args<'_, '_>) -> &'a [u8] {
    let Some(value) = args.first() else {
        return &[];
    };
    let text = value
        .downcast_ref::<CelString<'_>>()
        .map(|text| text.inner().as_bytes());
    text.or_else(|| value.downcast_ref::<CelBytes<'_>>().map(CelBytes::inner))
        .unwrap_or_default()
}

fn charge<'b, 'v>(mut args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let range = args
        .pop()
        .ok_or_else(ExecutionError::missing_argument_or_target)?;
    let size = range.as_sizer().map_or(0, |sizer| *sizer.size().inner());
    meter(&args)?.charge(size.unsigned_abs().saturating_add(1))?;
    Ok(range)
}

fn are_equal<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let same = matches!(&args[..], [left, right] if equal(&**left, &**right));
    Ok(CowVal::owned(CelBool::from(same)))
}

fn within<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let [value, container] = &args[..] else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    if container.get_type().kind() == types::Kind::List {
        let mut items = container.as_iterable().map(|list| list.iter());
        while let Some(item) = items.as_mut().and_then(|items| items.next()) {
            if equal(item, &**value) {
                return Ok(CowVal::owned(CelBool::from(true)));
            }
        }
        return Ok(CowVal::owned(CelBool::from(false)));
    }
    let no_overload = || {
        let kinds = [value, container].map(|val| val.get_type().name().to_owned());
        ExecutionError::no_such_overload("in", kinds.to_vec())
    };
    let found = container
        .as_container()
        .ok_or_else(no_overload)?
        .contains(&**value)?;
    Ok(CowVal::owned(CelBool::from(found)))
}

/// Milliseconds since the Unix epoch.
fn now<'b, 'v>(_args: Args<'b, 'v>) -> Answer<'b, 'v> {
    Ok(CowVal::owned(CelInt::from(
        jiff::Timestamp::now().as_millisecond(),
    )))
}

fn uuid<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let random = random_of(&args)?;
    let bits = (u128::from(random.next()) << 64) | u128::from(random.next());
    let id = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
    Ok(CowVal::owned(CelString::from(id.to_string())))
}

/// From 0, below 1.
fn random_share<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits are exactly what a double holds"
    )]
    let share = (random_of(&args)?.next() >> 11) as f64 / (1_u64 << 53) as f64;
    Ok(CowVal::owned(CelDouble::from(share)))
}

fn random_below<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    random_from(random_of(&args)?, 0, int(&args, 1)?)
}

fn random_between<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    random_from(random_of(&args)?, int(&args, 1)?, int(&args, 2)?)
}

fn random_from<'b, 'v>(random: &Random, from: i64, to: i64) -> Answer<'b, 'v> {
    if to <= from {
        return Err(failed(&format!(
            "random: there is no number from {from} and below {to}"
        )));
    }
    let drawn = random.below(to.abs_diff(from));
    Ok(CowVal::owned(CelInt::from(
        from.wrapping_add_unsigned(drawn),
    )))
}

fn range_to<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    numbers(meter(&args)?, 0, int(&args, 1)?)
}

fn range_between<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    numbers(meter(&args)?, int(&args, 1)?, int(&args, 2)?)
}

fn numbers<'b, 'v>(meter: &Meter, from: i64, to: i64) -> Answer<'b, 'v> {
    if to > from {
        meter.charge(to.abs_diff(from))?;
    }
    let numbers: Vec<Box<dyn Val + 'v>> = (from..to)
        .map(|number| Box::new(CelInt::from(number)) as Box<dyn Val + 'v>)
        .collect();
    Ok(CowVal::owned(CelList::from(numbers)))
}

fn b64<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let text = base64::engine::general_purpose::STANDARD.encode(content(&args));
    Ok(CowVal::owned(CelString::from(text)))
}

fn hex<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    Ok(CowVal::owned(CelString::from(hex::encode(content(&args)))))
}
