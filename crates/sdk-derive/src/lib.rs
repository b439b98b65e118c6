//! The derives of `sluice-sdk`: a struct that is a channel's option file, and an enum that is a choice of words.
//!
//! What they make is ordinary code over the traits `Options` and `OptionValue` of `sluice-sdk`, which has the documentation
//! and the examples; the checks that need types are made there, by constant functions, so that a wrong table does not compile.
//!
//! They need no other crate, so that a plugin is built where there is a compiler and no registry: the little of the language that
//! stands in such a struct is read by [`read`].
//!
//! # Not here
//! Reading a value, and what is said about a wrong one (`sluice_sdk::options`).
#![forbid(unsafe_code)]

mod options;
mod read;
mod words;

use proc_macro::TokenStream;

/// Makes `sluice_sdk::Options` for a struct: one option for each field.
///
/// The doc comment of a field is the operator's help. `#[option(…)]` takes `name = "URL"` (else the field's name in upper
/// case), `default = …` as it would stand in the file, and `range = 1..=100` for numbers and seconds.
#[proc_macro_derive(Options, attributes(option))]
pub fn options(input: TokenStream) -> TokenStream {
    options::derive(input).unwrap_or_else(read::Wrong::into_tokens)
}

/// Makes `sluice_sdk::OptionValue` for an enum without fields: the option's value is one of its variants' names, in lower
/// case and with `_` between words, or what `#[option(word = "…")]` says.
#[proc_macro_derive(OptionWord, attributes(option))]
pub fn words(input: TokenStream) -> TokenStream {
    words::derive(input).unwrap_or_else(read::Wrong::into_tokens)
}
