//! A struct becomes a table of options and the reading of them.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, Lit, RangeLimits, Result};

/// Longest name of an option, in bytes: the contract's.
const NAME_MAX: usize = 64;
/// Longest help, in bytes: the contract's.
const HELP_MAX: usize = 4096;

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "options are the fields of a struct"));
    };
    let fields = match &data.fields {
        Fields::Named(named) => named.named.iter().collect::<Vec<_>>(),
        Fields::Unit => Vec::new(),
        Fields::Unnamed(_) => {
            return Err(Error::new_spanned(
                &input.ident,
                "the fields need names: they are the names of the options",
            ));
        }
    };
    if let Some(parameter) = input.generics.params.first() {
        return Err(Error::new_spanned(
            parameter,
            "a table of options is one table: the struct must not be generic",
        ));
    }
    let options = fields.iter().map(|field| Written::read(field)).collect::<Result<Vec<_>>>()?;
    for (at, option) in options.iter().enumerate() {
        if options[..at].iter().any(|before| before.name == option.name) {
            let text = format!("there is an option {} already", option.name);
            return Err(Error::new(option.field.span(), text));
        }
    }
    let this = &input.ident;
    let rows = options.iter().map(Written::row);
    let names: Vec<_> = options.iter().map(|option| &option.field.ident).collect();
    let types = options.iter().map(|option| &option.field.ty);
    let places = 0..options.len();
    let read = if options.is_empty() {
        quote! { let _ = context; ::core::result::Result::Ok(#this {}) }
    } else {
        quote! {
            let mut reading = ::sluice_sdk::options::Reading::new(context, Self::TABLE);
            match (#(reading.value::<#types>(#places),)*) {
                (#(::core::option::Option::Some(#names),)*) => ::core::result::Result::Ok(#this { #(#names),* }),
                _ => ::core::result::Result::Err(reading.refused()),
            }
        }
    };
    Ok(quote! {
        impl ::sluice_sdk::Options for #this {
            const TABLE: &'static [::sluice_sdk::OptionSpec] = &[#(#rows),*];

            fn read(
                context: &::sluice_sdk::Context,
            ) -> ::core::result::Result<Self, ::sluice_sdk::CreateError> {
                #read
            }
        }

        // Else a mistake would be found only where the table is used.
        const _: &[::sluice_sdk::OptionSpec] = <#this as ::sluice_sdk::Options>::TABLE;
    })
}

/// One field, as its author wrote it.
struct Written<'a> {
    field: &'a Field,
    name: String,
    help: String,
    default: Option<TokenStream>,
    range: Option<(TokenStream, TokenStream)>,
}

impl<'a> Written<'a> {
    fn read(field: &'a Field) -> Result<Written<'a>> {
        let Some(ident) = &field.ident else {
            return Err(Error::new(field.span(), "the field needs a name"));
        };
        let plain = ident.to_string();
        let mut written = Written {
            field,
            name: plain.trim_start_matches("r#").to_ascii_uppercase(),
            help: help(&field.attrs),
            default: None,
            range: None,
        };
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("option")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    written.name = meta.value()?.parse::<syn::LitStr>()?.value();
                } else if meta.path.is_ident("default") {
                    written.default = Some(as_in_the_file(&meta.value()?.parse::<Expr>()?));
                } else if meta.path.is_ident("range") {
                    written.range = Some(bounds(&meta.value()?.parse::<Expr>()?)?);
                } else {
                    return Err(meta.error("an option has `name`, `default` and `range`"));
                }
                Ok(())
            })?;
        }
        let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if written.name.is_empty() || written.name.len() > NAME_MAX || !written.name.bytes().all(upper) {
            let text = format!(
                "the name of an option is upper-case letters, digits and `_`, at most {NAME_MAX}; write `#[option(name = \"…\")]`"
            );
            return Err(Error::new(field.span(), text));
        }
        if written.help.is_empty() {
            return Err(Error::new(
                field.span(),
                "write a doc comment: it is what the operator reads about this option",
            ));
        }
        if written.help.len() > HELP_MAX {
            let text = format!("the help of an option has at most {HELP_MAX} bytes");
            return Err(Error::new(field.span(), text));
        }
        Ok(written)
    }

    fn row(&self) -> TokenStream {
        let (name, help, ty) = (&self.name, &self.help, &self.field.ty);
        let default = self.default.as_ref().map(|default| quote! { .default_text(#default) });
        let range = self.range.as_ref().map(|(min, max)| quote! { .within(#min, #max) });
        quote! {
            ::sluice_sdk::options::checked::<#ty>(
                ::sluice_sdk::OptionSpec::new(
                    #name,
                    <#ty as ::sluice_sdk::OptionValue>::KIND,
                    #help,
                )#default #range
            )
        }
    }
}

/// Doc comments as one line: the lines of a paragraph, and paragraphs too, are joined by a blank.
fn help(attributes: &[Attribute]) -> String {
    let mut words = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        if let syn::Meta::NameValue(pair) = &attribute.meta
            && let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value
        {
            words.extend(text.value().split_whitespace().map(str::to_owned));
        }
    }
    words.join(" ")
}

/// A literal as its text in an option file; anything else must be a constant text.
fn as_in_the_file(default: &Expr) -> TokenStream {
    match default {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => {
            let digits = number.base10_digits();
            quote! { #digits }
        }
        Expr::Lit(ExprLit { lit: Lit::Bool(switch), .. }) => {
            let digit = if switch.value { "1" } else { "0" };
            quote! { #digit }
        }
        other => quote! { #other },
    }
}

/// Both ends of a range, inclusive; an end that is left open is that of the type.
fn bounds(range: &Expr) -> Result<(TokenStream, TokenStream)> {
    let Expr::Range(range) = range else {
        return Err(Error::new_spanned(range, "a range is written as `1..=100`, `1..` or `..=100`"));
    };
    let min = range.start.as_ref().map_or_else(|| quote! { 0_u64 }, |start| quote! { (#start) as u64 });
    let max = match (&range.end, &range.limits) {
        (None, _) => quote! { u64::MAX },
        (Some(end), RangeLimits::Closed(_)) => quote! { (#end) as u64 },
        (Some(end), RangeLimits::HalfOpen(_)) => quote! { ((#end) as u64 - 1) },
    };
    Ok((min, max))
}
