//! Names that only one settlement may use at a time, such as a payer's own nonce.

use chains_core::Identity;
use dashmap::{DashMap, mapref::entry::Entry};

/// Names in use, each by one settlement.
#[derive(Debug, Default)]
pub struct Exclusive {
    users: DashMap<String, Identity>,
}

impl Exclusive {
    /// Takes a name; returns false when another settlement has it.
    pub fn take(&self, name: &str, identity: Identity) -> bool {
        match self.users.entry(name.to_owned()) {
            Entry::Occupied(there) => *there.get() == identity,
            Entry::Vacant(free) => {
                free.insert(identity);
                true
            }
        }
    }

    /// Gives a name back, if this settlement has it.
    pub fn release(&self, name: &str, identity: &Identity) {
        self.users.remove_if(name, |_, there| there == identity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_user_at_a_time() {
        let (names, payment) = (Exclusive::default(), |n: u8| Identity::of("test", &[&[n]]));
        assert!(names.take("a", payment(1)) && names.take("a", payment(1)), "the same again");
        assert!(!names.take("a", payment(2)) && names.take("b", payment(2)));
        names.release("a", &payment(2));
        assert!(!names.take("a", payment(2)), "only its user gives it back");
        names.release("a", &payment(1));
        assert!(names.take("a", payment(2)));
    }
}
