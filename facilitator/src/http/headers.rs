//! The header fields that are read, each by its grammar.
//!
//! Sources: RFC 9110 (5.6 lists and quoted strings, 8.3 `Content-Type`, 8.4
//! `Content-Encoding`, 11.6.2 `Authorization`, 13.1.2 `If-None-Match`), RFC
//! 6750 (bearer tokens) and RFC 8941 (string items with their parameters, as
//! the draft of `Idempotency-Key` writes its value).

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// A field that stands twice where only one has a meaning, or is not text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

/// Returns the only value of a field; `None` when it is absent.
///
/// # Errors
/// It stands twice, or holds bytes that are not visible ASCII.
pub fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Ambiguous> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(|text| Some(text.trim_matches(is_blank))).map_err(|_| Ambiguous),
        (Some(_), Some(_)) => Err(Ambiguous),
    }
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// Returns the bearer token of a request: the scheme in any case, blanks, one token.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, rest) = single(headers, header::AUTHORIZATION).ok()??.split_once(is_blank)?;
    let token = rest.trim_matches(is_blank);
    let is_token = |b: u8| b.is_ascii_graphic() && b != b',';
    let good = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.bytes().all(is_token);
    good.then_some(token)
}

/// Returns true for a body that is said to be JSON in UTF-8, and not encoded.
/// That the type is said is required, since a web page cannot say it to
/// another origin without asking first.
pub fn is_plain_json(headers: &HeaderMap) -> bool {
    let Ok(Some(value)) = single(headers, header::CONTENT_TYPE) else { return false };
    let mut parts = split(value, ';').into_iter().map(|part| part.trim_matches(is_blank));
    let is_json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    is_json && parts.all(is_harmless_parameter) && is_identity(headers)
}

/// Any parameter but another character set than JSON's (RFC 8259, 8.1).
fn is_harmless_parameter(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return parameter.is_empty() };
    let Some(value) = unquoted(value) else { return false };
    !name.eq_ignore_ascii_case("charset") || value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
}

fn is_identity(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let codings = codings.flat_map(|value| value.to_str().unwrap_or("unreadable").split(','));
    codings.map(|coding| coding.trim_matches(is_blank)).all(|coding| {
        // Names of codings have no case (RFC 9110, 8.4.1).
        coding.is_empty() || coding.eq_ignore_ascii_case("identity")
    })
}

/// Returns true when the caller has the representation with this strong tag
/// already: `*`, or the tag in a list, weak or not (RFC 9110, 13.1.2).
pub fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    // Tags of others may hold bytes beyond ASCII.
    let values = headers.get_all(header::IF_NONE_MATCH).iter().map(HeaderValue::as_bytes).map(String::from_utf8_lossy);
    values.into_iter().any(|value| value.trim_matches(is_blank) == "*" || Tags(&value).any(|known| known == tag))
}

/// The tags of a list, each with its quotes and without its `W/`.
struct Tags<'a>(&'a str);

impl<'a> Iterator for Tags<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches([' ', '\t', ',']);
        let rest = rest.strip_prefix("W/").unwrap_or(rest);
        // A tag may hold commas, and no quote.
        let inner = rest.strip_prefix('"')?;
        let end = inner.find('"')? + 2;
        let (tag, rest) = rest.split_at(end);
        self.0 = rest;
        Some(tag)
    }
}

/// Returns the key of a request, written plainly or as a string of RFC 8941,
/// whose parameters mean nothing here.
///
/// # Errors
/// It stands twice, or is not text.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Ambiguous> {
    let value = single(headers, HeaderName::from_static("idempotency-key"))?;
    Ok(value.map(|value| string_item(value).unwrap_or(value)))
}

/// The content of a string item; `None` for everything else. One with an escaped
/// quote is cut there, since no key holds one.
fn string_item(value: &str) -> Option<&str> {
    let (content, rest) = value.strip_prefix('"')?.split_once('"')?;
    let mut parts = split(rest, ';').into_iter();
    let ends = parts.next().is_some_and(str::is_empty);
    (ends && parts.all(|part| is_item_parameter(part.trim_matches(' ')))).then_some(content)
}

/// A parameter of an item: a name in lower case, and perhaps a value.
fn is_item_parameter(text: &str) -> bool {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '*');
    let goes_on = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b));
    begins && goes_on && value.is_none_or(|value| !value.is_empty() && unquoted(value).is_some())
}

/// The parts of a text between separators that do not stand in a quoted string.
pub fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut from, mut quoted, mut escaped) = (vec![], 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == separator && !quoted => {
                parts.extend(text.get(from..at));
                from = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.extend(text.get(from..));
    parts
}

/// The content of a quoted string, or the token itself; `None` for a string that
/// does not end, or ends before the text does.
pub fn unquoted(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('"') else { return Some(text.to_owned()) };
    let inner = rest.strip_suffix('"')?;
    let mut content = String::with_capacity(inner.len());
    let mut escaped = false;
    for c in inner.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return None,
            c => {
                content.push(c);
                escaped = false;
            }
        }
    }
    (!escaped).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let name = HeaderName::from_static(name);
        values.iter().map(|value| (name.clone(), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn a_bearer_token_is_read_by_its_grammar() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("BEARER abc", Some("abc")),
            ("Bearer  \t abc ", Some("abc")),
            ("Bearer a.b-c_d~e+f/g==", Some("a.b-c_d~e+f/g==")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Bearer a b", None),
            ("Bearer a,b", None),
            ("Basic abc", None),
            ("Bearerabc", None),
            ("abc", None),
        ] {
            assert_eq!(bearer(&headers("authorization", &[value])), token, "{value:?}");
        }
        assert_eq!(bearer(&headers("authorization", &["Bearer a", "Bearer b"])), None, "whose request is it?");
    }

    #[test]
    fn a_json_body_says_so_in_any_spelling() {
        for (value, good) in [
            ("application/json", true),
            ("Application/JSON", true),
            ("application/json; charset=utf-8", true),
            ("application/json;charset=\"UTF-8\"", true),
            ("application/json ; profile=\"x\"", true),
            ("application/json; profile=\"a;b\"", true),
            ("application/json; profile=\"a; charset=utf-16\"; charset=utf-8", true),
            ("application/json; profile=\"\\\";charset=utf-16\"", true),
            ("application/json; charset=\"utf\\-8\"", true),
            ("application/json; charset=\"utf-8", false),
            ("application/json; charset=utf-8\"", false),
            ("application/json;", true),
            ("application/json; charset=utf-16", false),
            ("application/json; charset", false),
            ("application/json-patch+json", false),
            ("text/plain; a=application/json", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_plain_json(&headers("content-type", &[value])), good, "{value:?}");
        }
        assert!(!is_plain_json(&HeaderMap::new()));
        assert!(!is_plain_json(&headers("content-type", &["application/json", "text/plain"])));
        let codings = [
            ("identity", true),
            ("Identity", true),
            ("IDENTITY,", true),
            ("", true),
            ("gzip", false),
            ("identity, br", false),
        ];
        for (coding, good) in codings {
            let mut headers = headers("content-type", &["application/json"]);
            headers.insert(header::CONTENT_ENCODING, coding.parse().expect("a value"));
            assert_eq!(is_plain_json(&headers), good, "{coding:?}");
        }
    }

    #[test]
    fn a_known_tag_is_found_in_a_list_and_weak_ones_match() {
        for (value, known) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("*", true),
            ("\"b\", \"a\"", true),
            ("\"b\",W/\"a\" , \"c\"", true),
            ("\"x,y\", \"a\"", true),
            ("\"b\"", false),
            ("a", false),
            ("\"a", false),
            ("\"b, \"a\"", false),
            ("", false),
        ] {
            assert_eq!(has_tag(&headers("if-none-match", &[value]), "\"a\""), known, "{value:?}");
        }
        assert!(has_tag(&headers("if-none-match", &["\"b\"", "\"a\""]), "\"a\""), "several fields are one list");
        let mut beyond = HeaderMap::new();
        beyond.insert(header::IF_NONE_MATCH, HeaderValue::from_bytes(b"\"\xe9\", \"a\"").expect("a value"));
        assert!(has_tag(&beyond, "\"a\""), "a tag may hold bytes beyond ASCII");
    }

    #[test]
    fn an_idempotency_key_may_stand_in_quotes_and_only_once() {
        for (values, key) in [
            (&["abc"][..], Ok(Some("abc"))),
            (&["\"abc\""], Ok(Some("abc"))),
            (&[" abc\t"], Ok(Some("abc"))),
            (&["\"abc\";v=1"], Ok(Some("abc"))),
            (&["\"abc\"; v=1;*retry; note=\"a;b\""], Ok(Some("abc"))),
            (&["\"abc\";"], Ok(Some("\"abc\";"))),
            (&["\"abc\"; V=1"], Ok(Some("\"abc\"; V=1"))),
            (&["\"abc\", \"def\""], Ok(Some("\"abc\", \"def\""))),
            (&["\"abc"], Ok(Some("\"abc"))),
            (&[], Ok(None)),
            (&["a", "b"], Err(Ambiguous)),
        ] {
            assert_eq!(idempotency_key(&headers("idempotency-key", values)), key, "{values:?}");
        }
    }
}
