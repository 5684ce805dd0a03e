//! A source file as its paths: every import and every path that is written out, with the line it stands in.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::{
    Attribute, Item, ItemMod, Meta, UseTree,
    visit::{self, Visit},
};

/// A Rust file of the workspace.
pub(super) struct Source {
    /// Its path below the root of the repository, with `/`.
    pub(super) file: String,
    /// Its text.
    pub(super) text: String,
}

/// A path that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Absolute: the first segment is a crate, or `crate` for the file's own.
    pub(super) segments: Vec<String>,
    /// The line in which it stands.
    pub(super) line: usize,
    /// True in code that exists in tests only.
    pub(super) in_test: bool,
    /// True for `pub use`, which makes something reachable here and uses nothing.
    pub(super) is_reexport: bool,
}

impl Named {
    /// Returns the path as it would be written.
    pub(super) fn text(&self) -> String {
        self.segments.join("::")
    }
}

/// Returns the root of the repository.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

/// Returns every file with this ending below a folder of the repository, but for built and downloaded ones.
pub(super) fn files(below: &str, endings: &[&str]) -> Vec<Source> {
    fn walk(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or("");
            if entry.is_dir() && !["target", "node_modules", "out", "corpus"].contains(&name) && !name.starts_with('.')
            {
                walk(&entry, endings, found);
            } else if endings.iter().any(|ending| name.ends_with(ending)) && entry.is_file() {
                found.push(entry);
            }
        }
    }
    let (root, mut found) = (root(), vec![]);
    walk(&root.join(below), endings, &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let file = path.strip_prefix(&root).expect("below the root").display().to_string();
        Source { file, text: fs::read_to_string(&path).expect("readable") }
    };
    found.into_iter().map(read).collect()
}

/// Returns the module that a file is, below its crate: `facilitator/src/http/error.rs` is `[http, error]`.
pub(super) fn module_of(file: &str) -> Vec<String> {
    let below = file.split_once("src/").or_else(|| file.split_once("e2e/")).map_or(file, |(_, below)| below);
    let below = below.trim_end_matches(".rs").trim_end_matches("/mod");
    let parts = below.split('/').filter(|part| !["lib", "main", "mod"].contains(part));
    parts.map(str::to_owned).collect()
}

/// Returns every path that a file names, of two segments and more.
///
/// # Errors
/// The file is not Rust.
pub(super) fn paths(source: &Source) -> Result<Vec<Named>, syn::Error> {
    let parsed = syn::parse_file(&source.text)?;
    let module = module_of(&source.file);
    let mut declared = BTreeSet::new();
    declare(&mut declared, &module, &parsed.items);
    let mut collector = Collector { module, declared, in_test: has_test(&parsed.attrs), found: vec![] };
    collector.visit_file(&parsed);
    Ok(collector.found)
}

/// Returns the modules that a file declares for tests only: `#[cfg(test)] mod tests;`.
///
/// # Errors
/// The file is not Rust.
pub(super) fn test_modules(source: &Source) -> Result<Vec<Vec<String>>, syn::Error> {
    let parsed = syn::parse_file(&source.text)?;
    let of_tests = parsed.items.iter().filter_map(|item| match item {
        Item::Mod(module) if module.content.is_none() && has_test(&module.attrs) => Some(module.ident.to_string()),
        _ => None,
    });
    let own = module_of(&source.file);
    Ok(of_tests.map(|name| [own.clone(), vec![name]].concat()).collect())
}

/// Returns true for `#[cfg(test)]`, alone or as one of conditions that must all hold, and for `#[test]`.
fn has_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => means_test(&list.tokens),
        _ => false,
    })
}

fn means_test(condition: &TokenStream) -> bool {
    let tokens: Vec<TokenTree> = condition.clone().into_iter().collect();
    match tokens.as_slice() {
        [TokenTree::Ident(word)] => word == "test",
        [TokenTree::Ident(word), TokenTree::Group(group)] if word == "all" => {
            let conditions: Vec<_> = group.stream().into_iter().collect();
            let mut split = conditions.split(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ','));
            split.any(|condition| means_test(&condition.iter().cloned().collect()))
        }
        _ => false,
    }
}

/// Collects the modules that a file declares: within it their names begin paths.
fn declare(declared: &mut BTreeSet<Vec<String>>, within: &[String], items: &[Item]) {
    for item in items {
        if let Item::Mod(module) = item {
            let path = [within, &[module.ident.to_string()]].concat();
            if let Some((_, items)) = &module.content {
                declare(declared, &path, items);
            }
            declared.insert(path);
        }
    }
}

struct Collector {
    module: Vec<String>,
    declared: BTreeSet<Vec<String>>,
    in_test: bool,
    found: Vec<Named>,
}

impl Collector {
    fn add(&mut self, segments: &[String], span: Span, is_reexport: bool) {
        if let Some(segments) = self.absolute(segments) {
            let line = span.start().line;
            self.found.push(Named { segments, line, in_test: self.in_test, is_reexport });
        }
    }

    /// Returns a path without `self` and `super`; `None` for a single word.
    fn absolute(&self, segments: &[String]) -> Option<Vec<String>> {
        let (mut base, mut rest) = (self.module.clone(), segments);
        let first = segments.first()?;
        let mut is_relative = self.declared.contains(&[self.module.as_slice(), std::slice::from_ref(first)].concat());
        while let [first, more @ ..] = rest {
            match first.as_str() {
                "self" => {}
                "super" => drop(base.pop()),
                _ => break,
            }
            (is_relative, rest) = (true, more);
        }
        if is_relative {
            return Some([vec!["crate".to_owned()], base, rest.to_vec()].concat());
        }
        (segments.len() > 1).then(|| segments.to_vec())
    }

    fn use_tree(&mut self, tree: &UseTree, before: &[String], is_reexport: bool) {
        match tree {
            UseTree::Path(path) => {
                let before = [before, &[path.ident.to_string()]].concat();
                self.use_tree(&path.tree, &before, is_reexport);
            }
            UseTree::Name(name) => self.leaf(before, &name.ident, is_reexport),
            UseTree::Rename(rename) => self.leaf(before, &rename.ident, is_reexport),
            UseTree::Glob(glob) => {
                let all = [before, &["*".to_owned()]].concat();
                self.add(&all, glob.star_token.spans[0], is_reexport);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(tree, before, is_reexport);
                }
            }
        }
    }

    fn leaf(&mut self, before: &[String], name: &syn::Ident, is_reexport: bool) {
        let path = if name == "self" { before.to_vec() } else { [before, &[name.to_string()]].concat() };
        // `use crate_name;` and `use crate_name as other;` name a crate as well.
        let path = if path.len() == 1 { [path, vec!["*".to_owned()]].concat() } else { path };
        self.add(&path, name.span(), is_reexport);
    }

    /// Looks for `a::b` in what a macro is given, which is no syntax tree.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = vec![];
        let (mut span, mut colons) = (Span::call_site(), 0);
        for token in tokens {
            match &token {
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Ident(word) if colons == 2 && !path.is_empty() => {
                    path.push(word.to_string());
                    colons = 0;
                }
                other => {
                    self.add(&std::mem::take(&mut path), span, false);
                    colons = 0;
                    if let TokenTree::Ident(word) = other {
                        (path, span) = (vec![word.to_string()], word.span());
                    }
                }
            }
            if let TokenTree::Group(group) = token {
                self.tokens(group.stream());
            }
        }
        self.add(&path, span, false);
    }

    fn within(&mut self, attributes: &[Attribute], visit: impl FnOnce(&mut Self)) {
        let before = self.in_test;
        self.in_test |= has_test(attributes);
        visit(self);
        self.in_test = before;
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = attributes_of(item).to_vec();
        self.within(&attributes, |collector| visit::visit_item(collector, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.within(&item.attrs, |collector| visit::visit_impl_item_fn(collector, item));
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if item.content.is_some() {
            self.module.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_reexport = !matches!(item.vis, syn::Visibility::Inherited);
        self.use_tree(&item.tree, &[], is_reexport);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.add(&[item.ident.to_string(), "*".to_owned()], item.ident.span(), false);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(first) = path.segments.first() {
            self.add(&segments, first.ident.span(), false);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
        visit::visit_attribute(self, attribute);
    }
}

fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
