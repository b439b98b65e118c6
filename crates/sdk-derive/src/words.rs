//! An enum becomes a choice of words.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Result, Variant};

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "a choice of words is an enum"));
    };
    if data.variants.is_empty() {
        return Err(Error::new_spanned(&input.ident, "a choice needs words"));
    }
    if let Some(parameter) = input.generics.params.first() {
        return Err(Error::new_spanned(parameter, "a choice of words must not be generic"));
    }
    let words = data.variants.iter().map(word).collect::<Result<Vec<_>>>()?;
    for (at, word) in words.iter().enumerate() {
        if words[..at].iter().any(|before| before.eq_ignore_ascii_case(word)) {
            return Err(Error::new_spanned(&data.variants[at], format!("there is a word `{word}` already")));
        }
    }
    let this = &input.ident;
    let variants = data.variants.iter().map(|variant| &variant.ident);
    Ok(quote! {
        impl ::sluice_sdk::OptionValue for #this {
            const KIND: ::sluice_sdk::OptionKind = ::sluice_sdk::OptionKind::Text;
            const WORDS: &'static [&'static str] = &[#(#words),*];

            fn read(
                written: &::sluice_sdk::Written<'_>,
            ) -> ::core::result::Result<Self, ::std::string::String> {
                #(if written.is(#words) { return ::core::result::Result::Ok(#this::#variants); })*
                ::core::result::Result::Err(::sluice_sdk::options::one_of(Self::WORDS))
            }
        }
    })
}

fn word(variant: &Variant) -> Result<String> {
    if !matches!(variant.fields, Fields::Unit) {
        return Err(Error::new_spanned(variant, "a word has no fields"));
    }
    let mut word = String::new();
    for letter in variant.ident.to_string().chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(letter.to_lowercase());
    }
    for attribute in variant.attrs.iter().filter(|attribute| attribute.path().is_ident("option")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("word") {
                return Err(meta.error("a variant has `word`"));
            }
            word = meta.value()?.parse::<syn::LitStr>()?.value();
            Ok(())
        })?;
    }
    if word.is_empty() || word.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err(Error::new_spanned(variant, "a word is one word"));
    }
    Ok(word)
}
