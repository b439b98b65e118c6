//! A struct becomes a table of options and the reading of them.

use crate::read::{Part, Wrong, fill, item, parts, text};
use proc_macro::{Delimiter, Literal, TokenStream, TokenTree};

/// Longest name of an option, in bytes: the contract's.
const NAME_MAX: usize = 64;
/// Longest help, in bytes: the contract's.
const HELP_MAX: usize = 4096;

pub(crate) fn derive(input: TokenStream) -> Result<TokenStream, Wrong> {
    let item = item(input)?;
    if item.keyword != "struct" {
        return Err(Wrong::at(item.name.span(), "options are the fields of a struct"));
    }
    let fields = match &item.body {
        Some(body) if body.delimiter() == Delimiter::Brace => parts(body)?,
        Some(body) => {
            return Err(Wrong::at(body.span(), "the fields need names: they are the names of the options"));
        }
        None => Vec::new(),
    };
    let options = fields.iter().map(Written::read).collect::<Result<Vec<_>, _>>()?;
    for (at, option) in options.iter().enumerate() {
        if options[..at].iter().any(|before| before.name == option.name) {
            let text = format!("there is an option {} already", option.name);
            return Err(Wrong::at(option.field.name.span(), text));
        }
    }
    let this = TokenStream::from(TokenTree::from(item.name));
    let rows: TokenStream = options.iter().map(Written::row).collect();
    let (mut values, mut some, mut names) = (TokenStream::new(), TokenStream::new(), TokenStream::new());
    for (place, option) in options.iter().enumerate() {
        let name = TokenStream::from(TokenTree::from(option.field.name.clone()));
        let place = TokenStream::from(TokenTree::from(Literal::usize_unsuffixed(place)));
        values.extend(fill("reading.value::<__0>(__1),", &[option.field.rest.clone(), place]));
        some.extend(fill("::core::option::Option::Some(__0),", std::slice::from_ref(&name)));
        names.extend(fill("__0,", &[name]));
    }
    let read = if options.is_empty() {
        fill("let _ = context; ::core::result::Result::Ok(__0 {})", std::slice::from_ref(&this))
    } else {
        fill(
            "let mut reading = ::sluice_sdk::options::Reading::new(context, Self::TABLE);
             match (__0) {
                 (__1) => ::core::result::Result::Ok(__2 { __3 }),
                 _ => ::core::result::Result::Err(reading.refused()),
             }",
            &[values, some, this.clone(), names],
        )
    };
    Ok(fill(
        "impl ::sluice_sdk::Options for __0 {
             const TABLE: &'static [::sluice_sdk::OptionSpec] = &[__1];

             fn read(
                 context: &::sluice_sdk::Context,
             ) -> ::core::result::Result<Self, ::sluice_sdk::CreateError> {
                 __2
             }
         }

         // Else a mistake would be found only where the table is used.
         const _: &[::sluice_sdk::OptionSpec] = <__0 as ::sluice_sdk::Options>::TABLE;",
        &[this, rows, read],
    ))
}

/// One field, as its author wrote it.
struct Written<'a> {
    field: &'a Part,
    name: String,
    default: Option<TokenStream>,
    range: Option<(TokenStream, TokenStream)>,
}

impl<'a> Written<'a> {
    fn read(field: &'a Part) -> Result<Written<'a>, Wrong> {
        let plain = field.name.to_string();
        let name = plain.trim_start_matches("r#").to_ascii_uppercase();
        let mut written = Written { field, name, default: None, range: None };
        for setting in &field.settings {
            match setting.name.to_string().as_str() {
                "name" => written.name = setting.text()?,
                "default" => written.default = Some(as_in_the_file(&setting.value)),
                "range" => written.range = Some(bounds(&setting.value)?),
                _ => {
                    return Err(Wrong::at(
                        setting.name.span(),
                        "an option has `name`, `default` and `range`",
                    ));
                }
            }
        }
        let place = field.name.span();
        let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if written.name.is_empty() || written.name.len() > NAME_MAX || !written.name.bytes().all(upper) {
            let text = format!(
                "the name of an option is upper-case letters, digits and `_`, at most {NAME_MAX}; write `#[option(name = \"…\")]`"
            );
            return Err(Wrong::at(place, text));
        }
        if field.help.is_empty() {
            let text = "write a doc comment: it is what the operator reads about this option";
            return Err(Wrong::at(place, text));
        }
        if field.help.len() > HELP_MAX {
            return Err(Wrong::at(place, format!("the help of an option has at most {HELP_MAX} bytes")));
        }
        Ok(written)
    }

    fn row(&self) -> TokenStream {
        let literal = |text: &str| TokenStream::from(TokenTree::from(Literal::string(text)));
        let mut more = TokenStream::new();
        if let Some(default) = &self.default {
            more.extend(fill(".default_text(__0)", std::slice::from_ref(default)));
        }
        if let Some((min, max)) = &self.range {
            more.extend(fill(".within(__0, __1)", &[min.clone(), max.clone()]));
        }
        fill(
            "::sluice_sdk::options::checked::<__0>(
                 ::sluice_sdk::OptionSpec::new(__1, <__0 as ::sluice_sdk::OptionValue>::KIND, __2) __3
             ),",
            &[self.field.rest.clone(), literal(&self.name), literal(&self.field.help), more],
        )
    }
}

/// A literal as its text in an option file; anything else must be a constant text.
fn as_in_the_file(default: &[TokenTree]) -> TokenStream {
    let literal = |text: &str| TokenStream::from(TokenTree::from(Literal::string(text)));
    match default {
        [TokenTree::Ident(word)] if word.to_string() == "true" => literal("1"),
        [TokenTree::Ident(word)] if word.to_string() == "false" => literal("0"),
        [TokenTree::Literal(value)] if text(value).is_none() => literal(&value.to_string().replace('_', "")),
        other => other.iter().cloned().collect(),
    }
}

/// Both ends of a range, inclusive; an end that is left open is that of the type.
fn bounds(range: &[TokenTree]) -> Result<(TokenStream, TokenStream), Wrong> {
    let is = |token: Option<&TokenTree>, wanted: char| matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == wanted);
    let dots = (0..range.len()).find(|&at| is(range.get(at), '.') && is(range.get(at + 1), '.'));
    let Some(dots) = dots else {
        return Err(Wrong::at(range[0].span(), "a range is written as `1..=100`, `1..` or `..=100`"));
    };
    let (start, end) = (&range[..dots], &range[dots + 2..]);
    let closed = is(end.first(), '=');
    let end = if closed { &end[1..] } else { end };
    let part = |tokens: &[TokenTree]| [tokens.iter().cloned().collect::<TokenStream>()];
    let min = if start.is_empty() { fill("0_u64", &[]) } else { fill("(__0) as u64", &part(start)) };
    let max = match (end.is_empty(), closed) {
        (true, _) => fill("u64::MAX", &[]),
        (false, true) => fill("(__0) as u64", &part(end)),
        (false, false) => fill("((__0) as u64 - 1)", &part(end)),
    };
    Ok((min, max))
}
