//! Bounds the connects in flight to one address, over all workers of an agent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::driver::limits;

/// The connects in flight of one agent, by address. Waiting here is not part of `stage_connect`.
#[derive(Debug, Default)]
pub struct Gate {
    addresses: Mutex<HashMap<Box<str>, Arc<Semaphore>>>,
}

impl Gate {
    /// Waits until a connect to `address` may start; it may go on while the permit lives.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in the queue.
    pub async fn pass(&self, address: &str) -> OwnedSemaphorePermit {
        let semaphore = self.semaphore(address);
        semaphore
            .acquire_owned()
            .await
            .expect("nobody closes a gate")
    }

    fn semaphore(&self, address: &str) -> Arc<Semaphore> {
        // Connects are rare beside requests, and the lock is held for a look-up: workers do not feel each other.
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = addresses.get(address) {
            return Arc::clone(known);
        }
        if addresses.len() >= limits::GATES {
            addresses.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        }
        let new = Arc::new(Semaphore::new(limits::CONNECTS_IN_FLIGHT));
        addresses.insert(address.into(), Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connects_to_one_address_wait_and_others_do_not() {
        let gate = Gate::default();
        let mut held = Vec::new();
        for _ in 0..limits::CONNECTS_IN_FLIGHT {
            held.push(gate.pass("a:1").await);
        }
        assert!(futures_util::FutureExt::now_or_never(gate.pass("a:1")).is_none());
        assert!(futures_util::FutureExt::now_or_never(gate.pass("b:1")).is_some());
        held.pop();
        assert!(futures_util::FutureExt::now_or_never(gate.pass("a:1")).is_some());
    }

    #[tokio::test]
    async fn addresses_nobody_waits_for_are_forgotten() {
        let gate = Gate::default();
        for port in 0..limits::GATES * 2 {
            drop(gate.pass(&format!("a:{port}")).await);
        }
        assert!(gate.addresses.lock().expect("not poisoned").len() <= limits::GATES);
    }
}
