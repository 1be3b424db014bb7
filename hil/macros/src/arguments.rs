//! What stands between the parentheses of `#[scenario(…)]`, parsed and checked.
//!
//! Every mistake is reported at once, each at its place, with what would have been right.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, LitStr, Token, bracketed};

use crate::duration;

/// The categories of the catalogue, in its order; `hil_runner::Category` has a variant for each.
pub(crate) const CATEGORIES: [(&str, &str); 8] = [
    ("connectivity", "Connectivity"),
    ("commands", "Commands"),
    ("telemetry", "Telemetry"),
    ("load", "Load"),
    ("security", "Security"),
    ("integration", "Integration"),
    ("performance", "Performance"),
    ("stability", "Stability"),
];

const KEYS: &str = "known keys: `id`, `category`, `tags`, `timeout`, `needs`, `telemetry`";
const TIMEOUT_MS_DEFAULT: u64 = 30_000;

/// The facts about one scenario.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) id: String,
    /// Name of the variant of `hil_runner::Category`.
    pub(crate) category: &'static str,
    pub(crate) tags: Vec<String>,
    pub(crate) needs: Vec<String>,
    pub(crate) timeout_ms: u64,
    pub(crate) telemetry: bool,
}

/// One `key`, `key = "text"` or `key = ["text", …]`.
struct Argument {
    key: Ident,
    value: Value,
}

enum Value {
    Nothing,
    Text(LitStr),
    List(Vec<LitStr>),
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input.call(Ident::parse_any)?;
        if !input.peek(Token![=]) {
            return Ok(Argument {
                key,
                value: Value::Nothing,
            });
        }
        input.parse::<Token![=]>()?;
        let value = if input.peek(syn::token::Bracket) {
            let list;
            bracketed!(list in input);
            let texts = Punctuated::<LitStr, Token![,]>::parse_terminated(&list)?;
            Value::List(texts.into_iter().collect())
        } else {
            Value::Text(input.parse().map_err(|error: Error| {
                Error::new(
                    error.span(),
                    "expected text in quotes, or a list of texts in brackets",
                )
            })?)
        };
        Ok(Argument { key, value })
    }
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let parsed = Punctuated::<Argument, Token![,]>::parse_terminated(input)?;
        let mut mistakes = Mistakes(None);
        let mut seen: Vec<String> = Vec::new();
        let mut id = None;
        let mut category = None;
        let mut arguments = Arguments {
            id: String::new(),
            category: "",
            tags: Vec::new(),
            needs: Vec::new(),
            timeout_ms: TIMEOUT_MS_DEFAULT,
            telemetry: false,
        };
        for Argument { key, value } in parsed {
            let name = key.to_string();
            if seen.contains(&name) {
                mistakes.add(key.span(), format!("`{name}` is given twice"));
                continue;
            }
            seen.push(name.clone());
            match (name.as_str(), value) {
                ("id", Value::Text(text)) => {
                    id = Some(mistakes.catch(&text, check_id(&text.value())));
                }
                ("category", Value::Text(text)) => {
                    category = Some(mistakes.catch(&text, find_category(&text.value())));
                }
                ("timeout", Value::Text(text)) => {
                    let milliseconds = duration::milliseconds(&text.value());
                    if let Some(milliseconds) = mistakes.catch(&text, milliseconds) {
                        arguments.timeout_ms = milliseconds;
                    }
                }
                ("tags", Value::List(list)) => arguments.tags = mistakes.tags(&list),
                ("needs", Value::List(list)) => arguments.needs = mistakes.needs(&list),
                ("telemetry", Value::Nothing) => arguments.telemetry = true,
                ("telemetry", _) => mistakes.add(key.span(), "`telemetry` takes no value"),
                ("tags" | "needs", _) => mistakes.add(
                    key.span(),
                    format!("`{name}` takes a list: `{name} = [\"…\"]`"),
                ),
                ("id" | "category" | "timeout", _) => mistakes.add(
                    key.span(),
                    format!("`{name}` takes one text: `{name} = \"…\"`"),
                ),
                _ => mistakes.add(key.span(), format!("unknown key `{name}`; {KEYS}")),
            }
        }
        match id {
            Some(id) => arguments.id = id.unwrap_or_default(),
            None => mistakes.add(
                Span::call_site(),
                "a scenario needs an `id`, such as `id = \"CON-1\"`",
            ),
        }
        match category {
            Some(category) => arguments.category = category.unwrap_or_default(),
            None => mistakes.add(
                Span::call_site(),
                format!("a scenario needs a `category`; {}", known_categories()),
            ),
        }
        mistakes.none_or(arguments)
    }
}

fn check_id(text: &str) -> Result<String, String> {
    let good = text.split_once('-').is_some_and(|(letters, number)| {
        !letters.is_empty()
            && letters.bytes().all(|byte| byte.is_ascii_uppercase())
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    match good {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` is not a scenario id; write capitals, a dash and a number, such as `CON-1`"
        )),
    }
}

fn find_category(text: &str) -> Result<&'static str, String> {
    CATEGORIES
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, variant)| *variant)
        .ok_or_else(|| format!("unknown category `{text}`; {}", known_categories()))
}

fn known_categories() -> String {
    let names: Vec<String> = CATEGORIES
        .iter()
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    format!("known categories: {}", names.join(", "))
}

fn is_word(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(is_part)
}

/// Mistakes so far, as one error that the compiler shows as many.
struct Mistakes(Option<Error>);

impl Mistakes {
    fn add(&mut self, span: Span, message: impl std::fmt::Display) {
        let error = Error::new(span, message);
        match &mut self.0 {
            Some(first) => first.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn catch<T>(&mut self, at: &LitStr, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(at.span(), message)).ok()
    }

    /// Lower-case words with dashes.
    fn tags(&mut self, list: &[LitStr]) -> Vec<String> {
        let advice = "is not a tag; write lower-case letters, digits and dashes";
        self.words(list, is_word, advice)
    }

    /// Words, each perhaps with how many at least.
    fn needs(&mut self, list: &[LitStr]) -> Vec<String> {
        let is_need = |text: &str| match text.split_once(':') {
            None => is_word(text),
            Some((name, count)) => is_word(name) && count.parse::<u8>().is_ok_and(|n| n > 0),
        };
        let advice = "is not a need; write lower-case letters, digits and dashes, and how many at \
                      least after a colon: `power`, `sensors:60`";
        self.words(list, is_need, advice)
    }

    fn words(
        &mut self,
        list: &[LitStr],
        is_good: impl Fn(&str) -> bool,
        advice: &str,
    ) -> Vec<String> {
        let mut words = Vec::new();
        for literal in list {
            let word = literal.value();
            if is_good(&word) {
                words.push(word);
            } else {
                self.add(literal.span(), format!("`{word}` {advice}"));
            }
        }
        words
    }

    fn none_or<T>(self, value: T) -> syn::Result<T> {
        match self.0 {
            Some(error) => Err(error),
            None => Ok(value),
        }
    }
}
