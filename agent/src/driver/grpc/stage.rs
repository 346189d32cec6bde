//! What a call needs to know of its service: the method, how its messages look, and where their checked fields are.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use testmesh_shared::plan::{ErrorKind, Integrity};

use super::schema::Method;
use crate::driver::contract::StageError;
use crate::integrity::{Layout, LayoutProblem};

/// A method, resolved for one stage.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) method: Method,
    pub(crate) shape: Shape,
    /// Where the fields of the stage's `integrity` are, once they were asked for.
    layout: OnceLock<Layout>,
}

impl Schema {
    pub(crate) fn new(method: Method) -> Self {
        Self {
            shape: Shape::of(&method.output),
            layout: OnceLock::new(),
            method,
        }
    }

    /// Where the fields of the stage's `integrity` are. A schema belongs to one stage, so they are found once.
    pub(crate) fn layout(&self, integrity: &Integrity) -> Result<&Layout, Vec<LayoutProblem>> {
        if self.layout.get().is_none() {
            let layout = Layout::resolve(integrity, &self.method.output)?;
            let _ = self.layout.set(layout);
        }
        Ok(self.layout.get().expect("it was just set"))
    }

    /// A message that is none.
    pub(crate) fn unfit(&self, message: &[u8]) -> StageError {
        let Method { path, output, .. } = &self.method;
        let start = message[..message.len().min(16)].escape_ascii();
        let text = format!(
            "{path} sent {} bytes that are no {} ({start}…)",
            message.len(),
            output.full_name()
        );
        StageError::new(ErrorKind::Protocol, text).with_code("bad_message")
    }
}

/// Schemas that servers told by reflection, by address.
#[derive(Debug, Default)]
pub(crate) struct Reflected(Mutex<HashMap<Box<str>, Arc<Schema>>>);

/// Addresses that one stage remembers; each job of a server may have its own.
const REMEMBERED: usize = 512;

impl Reflected {
    pub(crate) fn get(&self, address: &str) -> Option<Arc<Schema>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(address)
            .map(Arc::clone)
    }

    pub(crate) fn insert(&self, address: &str, schema: &Arc<Schema>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(address.into(), Arc::clone(schema));
    }
}

/// Which wire type each field of a message may have: enough to tell a message from garbage, and from most messages of
/// another type, in one pass over its tags.
#[derive(Clone)]
pub(crate) struct Shape {
    /// Bits of allowed wire types, by field number.
    near: Box<[u8]>,
    /// The same for numbers beyond.
    far: HashMap<u32, u8>,
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shape")
            .field("fields", &self.near.len())
            .finish_non_exhaustive()
    }
}

/// Field numbers that are looked up in an array.
const NEAR: usize = 64;
const VARINT: u8 = 1;
const FIXED64: u8 = 1 << 1;
const BYTES: u8 = 1 << 2;
const GROUP: u8 = 1 << 3;
const FIXED32: u8 = 1 << 5;

impl Shape {
    pub(crate) fn of(message: &MessageDescriptor) -> Self {
        let mut near = vec![u8::MAX; NEAR];
        let mut far = HashMap::new();
        for field in message.fields() {
            let allowed = wire_types(&field);
            match usize::try_from(field.number())
                .ok()
                .filter(|number| *number < NEAR)
            {
                Some(number) => near[number] = allowed,
                None => drop(far.insert(field.number(), allowed)),
            }
        }
        Self {
            near: near.into(),
            far,
        }
    }

    /// Whether the bytes may be such a message. Unknown fields are allowed, as protobuf has it.
    pub(crate) fn fits(&self, mut message: &[u8]) -> bool {
        while !message.is_empty() {
            let Some(tag) = varint(&mut message).and_then(|tag| u32::try_from(tag).ok()) else {
                return false;
            };
            let (number, wire_type) = (tag >> 3, tag & 7);
            if number == 0 || self.allowed(number) & (1 << wire_type) == 0 {
                return false;
            }
            let skipped = match wire_type {
                0 => varint(&mut message).map(drop),
                1 => skip(&mut message, 8),
                2 => varint(&mut message)
                    .and_then(|length| skip(&mut message, usize::try_from(length).ok()?)),
                // Groups are obsolete and rare: what is inside is not looked at, their end is read as a field.
                3 | 4 => Some(()),
                5 => skip(&mut message, 4),
                _ => None,
            };
            if skipped.is_none() {
                return false;
            }
        }
        true
    }

    fn allowed(&self, number: u32) -> u8 {
        let near = usize::try_from(number)
            .ok()
            .and_then(|number| self.near.get(number));
        near.or_else(|| self.far.get(&number))
            .copied()
            .unwrap_or(u8::MAX)
    }
}

fn wire_types(field: &FieldDescriptor) -> u8 {
    let single = match field.kind() {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => FIXED64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => FIXED32,
        Kind::String | Kind::Bytes => BYTES,
        Kind::Message(_) if field.is_group() => GROUP | 1 << 4,
        Kind::Message(_) => BYTES,
        _ => VARINT,
    };
    // A repeated scalar may come packed or not, whatever it was declared as.
    if field.is_list() {
        single | BYTES
    } else {
        single
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(bytes).ok()
}

fn skip(bytes: &mut &[u8], count: usize) -> Option<()> {
    *bytes = bytes.get(count..)?;
    Some(())
}
