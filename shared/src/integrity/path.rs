//! A path of field numbers into an encoded message, as a driver compiles it from a plan's `a.b` and a descriptor.

/// Deepest path. Scanning descends only along paths, so this bounds it, whatever a message nests.
pub const PATH_MAX: usize = 16;

/// Greatest field number that protobuf knows.
const FIELD_MAX: u32 = (1 << 29) - 1;

/// How often a field may occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cardinality {
    /// Once: the last one wins, and an absent one is its default.
    Single,
    /// Any number of times, packed or not.
    Repeated,
}

/// One field on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// Its number.
    pub number: u32,
    /// How often it may occur.
    pub cardinality: Cardinality,
}

/// The declared type of the field that a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// `int32`, and enums.
    Int32,
    /// `int64`
    Int64,
    /// `uint32`
    Uint32,
    /// `uint64`
    Uint64,
    /// `sint32`
    Sint32,
    /// `sint64`
    Sint64,
    /// `fixed32`
    Fixed32,
    /// `fixed64`
    Fixed64,
    /// `sfixed32`
    Sfixed32,
    /// `sfixed64`
    Sfixed64,
    /// `bool`
    Bool,
    /// `float`
    Float,
    /// `double`
    Double,
    /// `string`
    String,
    /// `bytes`
    Bytes,
    /// A message, as its encoded bytes.
    Message,
}

impl Scalar {
    /// Whether it is a whole number: what a sequence has to be.
    #[must_use]
    pub const fn is_integer(self) -> bool {
        !matches!(
            self,
            Self::Float | Self::Double | Self::String | Self::Bytes | Self::Message | Self::Bool
        )
    }

    /// Whether it is a number: what a time of sending has to be.
    #[must_use]
    pub const fn is_number(self) -> bool {
        self.is_integer() || matches!(self, Self::Float | Self::Double)
    }

    /// Whether its values are pieces of the message rather than numbers.
    #[must_use]
    pub const fn is_bytes(self) -> bool {
        matches!(self, Self::String | Self::Bytes | Self::Message)
    }
}

/// Leads from a message to one of its fields.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldPath {
    parents: Vec<Step>,
    leaf: Step,
    scalar: Scalar,
}

/// Steps that are no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Too deep.
    #[error("a field path has at most {PATH_MAX} steps")]
    Deep,
    /// Not a field number.
    #[error("{number} is no field number")]
    Number {
        /// What was given.
        number: u32,
    },
}

impl FieldPath {
    /// A path through messages to a field of this type.
    ///
    /// # Errors
    /// [`PathError`] if it is too deep or a number is none.
    pub fn new(parents: Vec<Step>, leaf: Step, scalar: Scalar) -> Result<Self, PathError> {
        if parents.len() >= PATH_MAX {
            return Err(PathError::Deep);
        }
        let bad = parents
            .iter()
            .chain([&leaf])
            .find(|step| step.number == 0 || step.number > FIELD_MAX);
        if let Some(step) = bad {
            return Err(PathError::Number {
                number: step.number,
            });
        }
        Ok(Self {
            parents,
            leaf,
            scalar,
        })
    }

    /// A field of the message itself.
    ///
    /// # Errors
    /// [`PathError`] if the number is none.
    pub fn top(number: u32, cardinality: Cardinality, scalar: Scalar) -> Result<Self, PathError> {
        Self::new(
            Vec::new(),
            Step {
                number,
                cardinality,
            },
            scalar,
        )
    }

    /// The messages on the way.
    #[must_use]
    pub fn parents(&self) -> &[Step] {
        &self.parents
    }

    /// The field.
    #[must_use]
    pub const fn leaf(&self) -> Step {
        self.leaf
    }

    /// The field's type.
    #[must_use]
    pub const fn scalar(&self) -> Scalar {
        self.scalar
    }

    /// Whether a message may hold more than one value.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.parents
            .iter()
            .chain([&self.leaf])
            .any(|step| step.cardinality == Cardinality::Repeated)
    }
}
