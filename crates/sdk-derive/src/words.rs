//! An enum becomes a choice of words.

use crate::read::{Part, Wrong, fill, item, parts};
use proc_macro::{Literal, TokenStream, TokenTree};

pub(crate) fn derive(input: TokenStream) -> Result<TokenStream, Wrong> {
    let item = item(input)?;
    let Some(body) = item.body.filter(|_| item.keyword == "enum") else {
        return Err(Wrong::at(item.name.span(), "a choice of words is an enum"));
    };
    let variants = parts(&body)?;
    if variants.is_empty() {
        return Err(Wrong::at(item.name.span(), "a choice needs words"));
    }
    let words = variants.iter().map(word).collect::<Result<Vec<_>, _>>()?;
    let this = TokenStream::from(TokenTree::from(item.name));
    let (mut list, mut tries) = (TokenStream::new(), TokenStream::new());
    for (at, (word, variant)) in words.iter().zip(&variants).enumerate() {
        if words[..at].iter().any(|before| before.eq_ignore_ascii_case(word)) {
            return Err(Wrong::at(variant.name.span(), format!("there is a word `{word}` already")));
        }
        let literal = TokenStream::from(TokenTree::from(Literal::string(word)));
        let name = TokenStream::from(TokenTree::from(variant.name.clone()));
        list.extend(fill("__0,", std::slice::from_ref(&literal)));
        tries.extend(fill(
            "if written.is(__0) { return ::core::result::Result::Ok(__1::__2); }",
            &[literal, this.clone(), name],
        ));
    }
    Ok(fill(
        "impl ::sluice_sdk::OptionValue for __0 {
             const KIND: ::sluice_sdk::OptionKind = ::sluice_sdk::OptionKind::Text;
             const WORDS: &'static [&'static str] = &[__1];

             fn read(
                 written: &::sluice_sdk::Written<'_>,
             ) -> ::core::result::Result<Self, ::std::string::String> {
                 __2
                 ::core::result::Result::Err(::sluice_sdk::options::one_of(Self::WORDS))
             }
         }",
        &[this, list, tries],
    ))
}

fn word(variant: &Part) -> Result<String, Wrong> {
    if !variant.rest.is_empty() {
        return Err(Wrong::at(variant.name.span(), "a word has no fields and no number"));
    }
    let mut word = String::new();
    for letter in variant.name.to_string().trim_start_matches("r#").chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(letter.to_lowercase());
    }
    for setting in &variant.settings {
        if setting.name.to_string() != "word" {
            return Err(Wrong::at(setting.name.span(), "a variant has `word`"));
        }
        word = setting.text()?;
    }
    if word.is_empty() || word.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err(Wrong::at(variant.name.span(), "a word is one word"));
    }
    Ok(word)
}
