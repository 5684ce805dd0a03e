//! The course of one settlement: its events are a path of its states.

/// The states that events lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Beginning,
    /// No transaction carries its step.
    Waiting,
    /// One does.
    Carried,
    Unresolved,
    /// True once the success was given away by an event of its own.
    Settled(bool),
    Failed,
}

impl At {
    /// The state that an event leads to; `None` when it cannot happen here.
    fn after(self, event: &str) -> Option<Self> {
        use At::{Beginning, Carried, Failed, Settled, Unresolved, Waiting};
        Some(match (self, event) {
            (Beginning | Waiting, "signed") | (Carried | Unresolved, "bumped" | "cancelled" | "reorged") => Carried,
            (Beginning, "claimed") | (Carried | Unresolved, "transaction_dead" | "step_done") => Waiting,
            (Waiting | Carried, "unresolved") => Unresolved,
            (Beginning | Waiting | Carried | Unresolved, "settled") => Settled(false),
            (Waiting | Carried | Unresolved, "failed") => Failed,
            (Settled(false), "delivered") => Settled(true),
            // The transaction goes on where the chain took its block back.
            (Settled(_) | Failed, "finalized" | "reorged" | "bumped" | "cancelled" | "transaction_dead")
            | (Failed, "executed_elsewhere") => self,
            _ => return None,
        })
    }

    /// The states as the table spells them.
    const fn states(self) -> &'static [&'static str] {
        match self {
            Self::Beginning => &[],
            Self::Waiting | Self::Carried => &["signed", "broadcast"],
            Self::Unresolved => &["unresolved", "signed", "broadcast"],
            Self::Settled(_) => &["settled"],
            Self::Failed => &["failed"],
        }
    }
}

/// The error in a settlement's events, if there is one; `events` are in order and `state` is the table's.
pub fn error<'a>(events: impl IntoIterator<Item = (u64, &'a str)>, state: &str) -> Option<String> {
    let (mut at, mut expected) = (At::Beginning, 0);
    for (number, event) in events {
        if number != expected {
            return Some(format!("event {number} ({event}) comes where number {expected} should"));
        }
        let Some(next) = at.after(event) else {
            return Some(format!("event {number} ({event}) cannot follow: {at:?}"));
        };
        (at, expected) = (next, expected + 1);
    }
    (!at.states().contains(&state)).then(|| format!("its events lead to {at:?}, and its state is {state}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_a_path_of_the_states() {
        let cases: [(&[&str], &str, bool); 16] = [
            (&["signed"], "broadcast", true),
            (&["signed", "settled", "delivered", "finalized"], "settled", true),
            (&["claimed", "signed", "bumped", "settled"], "settled", true),
            (&["signed", "transaction_dead", "signed", "settled"], "settled", true),
            (&["signed", "unresolved", "settled"], "settled", true),
            (&["signed", "settled", "reorged", "bumped", "finalized"], "settled", true),
            (&["signed", "failed", "finalized"], "failed", true),
            (&["settled"], "settled", true),
            (&[], "signed", false),
            (&["settled", "signed"], "settled", false),
            (&["signed", "signed"], "broadcast", false),
            (&["signed", "settled", "failed"], "failed", false),
            (&["signed", "failed", "settled"], "settled", false),
            (&["signed", "settled", "delivered", "delivered"], "settled", false),
            (&["signed", "settled"], "broadcast", false),
            (&["signed", "failed", "delivered"], "failed", false),
        ];
        for (events, state, good) in cases {
            let said = error((0..).zip(events.iter().copied()), state);
            assert_eq!(said.is_none(), good, "{events:?}: {said:?}");
        }
        assert!(error([(0, "signed"), (2, "settled")], "settled").is_some(), "one is missing");
        assert!(error([(0, "signed"), (0, "signed")], "signed").is_some(), "one is there twice");
    }
}
