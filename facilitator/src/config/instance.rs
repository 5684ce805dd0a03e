//! `[instance]`: this process among those that share a database.

use chains_core::config::Section;

/// The most letters of a name.
const NAME_MAX: usize = 64;

/// `[instance]`: this process among those that share a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// The name that the operator gave it; `None` for the machine's with a random end.
    pub name: Option<String>,
}

pub(super) fn read(mut section: Section) -> Option<Instance> {
    let name = section.optional::<String>("name");
    let is_sane = |name: &String| {
        let sane = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        (1..=NAME_MAX).contains(&name.len()) && name.chars().all(sane)
    };
    if name.as_ref().is_some_and(|name| !is_sane(name)) {
        section.problem("name", "is no name of an instance", "write 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`");
        return None;
    }
    Some(Instance { name })
}
