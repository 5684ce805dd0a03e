//! Circles among the files of one folder.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, module_of, paths};

type Module = Vec<String>;

/// Returns the circles among these files, each as the files in it; a name that a file only passes on stands for the
/// file it comes from.
///
/// # Errors
/// A file is not Rust.
pub(super) fn circles(sources: &[Source]) -> Result<Vec<BTreeSet<String>>, syn::Error> {
    let files: BTreeMap<Module, &str> =
        sources.iter().map(|source| (module_of(&source.file), source.file.as_str())).collect();
    let mut named: Vec<(&str, Module)> = vec![];
    let mut passed_on: BTreeMap<Module, Module> = BTreeMap::new();
    for source in sources {
        for path in paths(source)?.into_iter().filter(|path| !path.in_test && path.segments[0] == "crate") {
            let target = path.segments[1..].to_vec();
            if path.is_reexport {
                let name = target.last().cloned().into_iter();
                passed_on.insert(module_of(&source.file).into_iter().chain(name).collect(), target);
            } else {
                named.push((&source.file, target));
            }
        }
    }
    let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, target) in named {
        let target = origin(&passed_on, target);
        let to = (0..=target.len()).rev().find_map(|length| files.get(&target[..length]).copied());
        if let Some(to) = to.filter(|to| *to != from) {
            arrows.entry(from).or_default().insert(to);
        }
    }
    let in_circle = |file: &&&str| reachable(&arrows, file).contains(**file);
    let members: Vec<&str> = arrows.keys().filter(in_circle).copied().collect();
    let circle_of = |file: &&str| -> BTreeSet<String> {
        let reached = reachable(&arrows, file);
        let both = members.iter().filter(|other| reached.contains(*other) && reachable(&arrows, other).contains(*file));
        both.map(|file| (*file).to_owned()).collect()
    };
    let circles: BTreeSet<BTreeSet<String>> = members.iter().map(circle_of).collect();
    Ok(circles.into_iter().collect())
}

/// Follows a name to the file that defines it.
fn origin(passed_on: &BTreeMap<Module, Module>, mut target: Module) -> Module {
    for _ in 0..passed_on.len() {
        let step = (1..=target.len()).rev().find_map(|length| Some((length, passed_on.get(&target[..length])?)));
        match step {
            Some((length, from)) => target = [from.as_slice(), &target[length..]].concat(),
            None => break,
        }
    }
    target
}

/// Returns every file that a file names, directly or through others.
fn reachable<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = vec![from];
    while let Some(file) = next.pop() {
        for to in arrows.get(file).into_iter().flatten() {
            if reached.insert(*to) {
                next.push(to);
            }
        }
    }
    reached
}
