//! The function under the attribute, checked, and its entry in the catalogue.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Attribute, Error, Expr, ExprLit, ItemFn, Lit, Meta, ReturnType};

use crate::arguments::Arguments;

/// The item as it was, followed by its registration.
pub(crate) fn scenario(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let function: ItemFn = syn::parse2(item)
        .map_err(|error| Error::new(error.span(), "`#[scenario]` belongs on an `async fn`"))?;
    let arguments: Arguments = syn::parse2(arguments)?;
    check_signature(&function)?;
    let description = description(&function.attrs);
    if description.is_empty() {
        return Err(Error::new_spanned(
            &function.sig.ident,
            "a scenario needs a doc comment; it is its description in lists and reports",
        ));
    }

    let name = &function.sig.ident;
    let name_text = name.to_string();
    let Arguments {
        id,
        tags,
        needs,
        timeout_ms,
        telemetry,
        ..
    } = &arguments;
    let category = format_ident!("{}", arguments.category);
    Ok(quote! {
        #function

        const _: () = {
            ::hil_runner::inventory::submit! {
                ::hil_runner::Scenario {
                    id: #id,
                    name: #name_text,
                    category: ::hil_runner::Category::#category,
                    tags: &[#(#tags),*],
                    needs: &[#(#needs),*],
                    timeout: ::core::time::Duration::from_millis(#timeout_ms),
                    telemetry: #telemetry,
                    description: #description,
                    file: ::core::file!(),
                    line: ::core::line!(),
                    body: |context| ::std::boxed::Box::pin(#name(context)),
                }
            }
        };
    })
}

fn check_signature(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(Error::new_spanned(
            signature.fn_token,
            "a scenario waits for things, so it must be an `async fn`",
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &signature.generics,
            "a scenario can't be generic",
        ));
    }
    if signature.inputs.len() != 1 {
        return Err(Error::new_spanned(
            &signature.ident,
            "a scenario takes one parameter: `context: &mut Context`",
        ));
    }
    if matches!(signature.output, ReturnType::Default) {
        return Err(Error::new_spanned(
            &signature.ident,
            "a scenario returns `Outcome`: add `-> Outcome`",
        ));
    }
    Ok(())
}

/// The doc comment: lines joined, paragraphs kept.
fn description(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes.iter().filter_map(doc_line).collect();
    let text = lines.join("\n");
    text.split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|paragraph| !paragraph.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(meta) = &attribute.meta else {
        return None;
    };
    if !meta.path.is_ident("doc") {
        return None;
    }
    match &meta.value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Some(text.value().trim().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proc_macro2::TokenStream;

    use super::scenario;

    const GOOD: &str = "/// Says so.\nasync fn it(context: &mut Context) -> Outcome { Ok(()) }";

    fn check(arguments: &str, item: &str, expected: Expect) {
        let parse = |text: &str| text.parse::<TokenStream>().expect("valid tokens");
        let actual = match scenario(parse(arguments), parse(item)) {
            Ok(_) => "accepted\n".to_owned(),
            Err(error) => error
                .into_iter()
                .map(|error| format!("{error}\n"))
                .collect(),
        };
        expected.assert_eq(&actual);
    }

    #[test]
    fn a_full_line_is_accepted() {
        check(
            r#"id = "CON-1", category = "connectivity", tags = ["smoke"], timeout = "30 s", needs = ["mqtt"], telemetry,"#,
            GOOD,
            expect![[r#"
                accepted
            "#]],
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        check(
            "",
            GOOD,
            expect![[r#"
                a scenario needs an `id`, such as `id = "CON-1"`
                a scenario needs a `category`; known categories: `connectivity`, `commands`, `telemetry`, `load`, `security`, `integration`, `performance`, `stability`
            "#]],
        );
    }

    #[test]
    fn all_mistakes_at_once() {
        check(
            r#"id = "con1", category = "comands", time_out = "3 s", tags = "smoke", needs = ["MQTT", "relays:8", "relays:all"], timeout = "30", telemetry = "yes", id = "A-1""#,
            GOOD,
            expect![[r#"
                `con1` is not a scenario id; write capitals, a dash and a number, such as `CON-1`
                unknown category `comands`; known categories: `connectivity`, `commands`, `telemetry`, `load`, `security`, `integration`, `performance`, `stability`
                unknown key `time_out`; known keys: `id`, `category`, `tags`, `timeout`, `needs`, `telemetry`
                `tags` takes a list: `tags = ["…"]`
                `MQTT` is not a need; write lower-case letters, digits and dashes, and how many at least after a colon: `power`, `sensors:60`
                `relays:all` is not a need; write lower-case letters, digits and dashes, and how many at least after a colon: `power`, `sensors:60`
                `30` has no unit; write a whole number and a unit: `500 ms`, `30 s`, `5 min`, `24 h`
                `telemetry` takes no value
                `id` is given twice
            "#]],
        );
    }

    #[test]
    fn the_function_must_be_a_scenario() {
        let arguments = r#"id = "CON-1", category = "connectivity""#;
        check(
            arguments,
            "struct It;",
            expect![[r#"
            `#[scenario]` belongs on an `async fn`
        "#]],
        );
        check(
            arguments,
            "/// D.\nfn it(context: &mut Context) -> Outcome {}",
            expect![[r#"
            a scenario waits for things, so it must be an `async fn`
        "#]],
        );
        check(
            arguments,
            "/// D.\nasync fn it() -> Outcome {}",
            expect![[r#"
            a scenario takes one parameter: `context: &mut Context`
        "#]],
        );
        check(
            arguments,
            "/// D.\nasync fn it(context: &mut Context) {}",
            expect![[r#"
            a scenario returns `Outcome`: add `-> Outcome`
        "#]],
        );
        check(
            arguments,
            "async fn it(context: &mut Context) -> Outcome {}",
            expect![[r#"
            a scenario needs a doc comment; it is its description in lists and reports
        "#]],
        );
    }

    #[test]
    fn a_value_must_be_text() {
        check(
            r#"id = 3"#,
            GOOD,
            expect![[r#"
            expected text in quotes, or a list of texts in brackets
        "#]],
        );
    }
}
