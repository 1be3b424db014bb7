//! The attribute `#[scenario]`.
//!
//! A scenario is an async function with a line of facts above it. The attribute checks those facts
//! while compiling, so that a misspelt category or a bad duration never reaches a rig, and enters
//! the function in the catalogue of `hil-runner`, so that nobody keeps a list by hand.
//!
//! | file | what it holds |
//! |---|---|
//! | `arguments.rs` | what stands between the parentheses, parsed and checked |
//! | `duration.rs` | durations with units, as people write them |
//! | `expand.rs` | the function, checked, and its entry in the catalogue |

mod arguments;
mod duration;
mod expand;

use proc_macro::TokenStream;

/// Enters an `async fn(&mut Context) -> Outcome` in the catalogue of scenarios.
///
/// The function's doc comment becomes its description. Keys:
///
/// | key | value | |
/// |---|---|---|
/// | `id` | `"CON-1"` | required; capitals, a dash, a number. Several scenarios may share it |
/// | `category` | `"connectivity"`, `"commands"`, `"telemetry"`, `"load"`, `"security"`, `"integration"`, `"performance"`, `"stability"` | required |
/// | `tags` | `["smoke", "nightly"]` | for selection |
/// | `timeout` | `"30 s"` | bench time; units `ms`, `s`, `min`, `h`; default 30 s |
/// | `needs` | `["mqtt", "relays:8"]` | what the rig must offer, and how many at least; else the verdict is blocked |
/// | `telemetry` | (no value) | it reads RTT telemetry: losing some of it is not a pass |
///
/// ```text
/// /// The device connects and publishes its boot event.
/// #[scenario(id = "CON-1", category = "connectivity", tags = ["smoke"], timeout = "30 s", needs = ["mqtt"])]
/// async fn device_connects_and_says_so(context: &mut Context) -> Outcome {
///     context.state::<Controller>().connected(context).await
/// }
/// ```
#[proc_macro_attribute]
pub fn scenario(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::scenario(arguments.into(), item.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}
