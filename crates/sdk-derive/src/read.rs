//! A struct or an enum, as far as the derives look at it: names, types, doc comments and `#[option(…)]`.
//!
//! The compiler has parsed it before and found it well formed, so what is left is to tell the parts from each other.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};
use std::iter::Peekable;

/// What is wrong with it, and where.
#[derive(Debug)]
pub(crate) struct Wrong {
    span: Span,
    text: String,
}

impl Wrong {
    pub(crate) fn at(span: Span, text: impl Into<String>) -> Wrong {
        Wrong { span, text: text.into() }
    }

    /// `compile_error!("…")`, at its place.
    pub(crate) fn into_tokens(self) -> TokenStream {
        let text = TokenTree::from(Literal::string(&self.text));
        let tokens = [
            TokenTree::from(Ident::new("compile_error", self.span)),
            Punct::new('!', Spacing::Alone).into(),
            Group::new(Delimiter::Brace, text.into()).into(),
        ];
        let placed = tokens.into_iter().map(|mut token| {
            token.set_span(self.span);
            token
        });
        placed.collect()
    }
}

/// A struct or an enum.
pub(crate) struct Item {
    /// `struct`, `enum` or `union`.
    pub(crate) keyword: String,
    pub(crate) name: Ident,
    /// The fields or variants; `None` for `struct Unit;`.
    pub(crate) body: Option<Group>,
}

/// A field, or a variant of an enum.
pub(crate) struct Part {
    pub(crate) name: Ident,
    /// Doc comments as one line: lines and paragraphs are joined by a blank.
    pub(crate) help: String,
    /// What stands in `#[option(…)]`.
    pub(crate) settings: Vec<Setting>,
    /// The type of a field; what stands behind the name of a variant.
    pub(crate) rest: TokenStream,
}

/// `name = value` in `#[option(…)]`.
pub(crate) struct Setting {
    pub(crate) name: Ident,
    pub(crate) value: Vec<TokenTree>,
}

type Tokens = Peekable<proc_macro::token_stream::IntoIter>;

/// Reads the whole item. Generic ones are refused: a table is one table.
pub(crate) fn item(input: TokenStream) -> Result<Item, Wrong> {
    let mut tokens = input.into_iter().peekable();
    let mut keyword: Option<String> = None;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) => match &keyword {
                Some(keyword) => {
                    let body = match tokens.next() {
                        Some(TokenTree::Punct(mark)) if mark.as_char() == '<' => {
                            return Err(Wrong::at(mark.span(), "this cannot be derived for a generic type"));
                        }
                        Some(TokenTree::Group(group)) => Some(group),
                        _ => None,
                    };
                    return Ok(Item { keyword: keyword.clone(), name: word, body });
                }
                None if ["struct", "enum", "union"].contains(&word.to_string().as_str()) => {
                    keyword = Some(word.to_string());
                }
                None => {}
            },
            TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    Err(Wrong::at(Span::call_site(), "this can be derived for a struct or an enum"))
}

/// The fields, or the variants, of a body in braces.
pub(crate) fn parts(body: &Group) -> Result<Vec<Part>, Wrong> {
    let mut tokens = body.stream().into_iter().peekable();
    let mut parts = Vec::new();
    while tokens.peek().is_some() {
        let (mut help, mut settings) = (Vec::new(), Vec::new());
        while matches!(tokens.peek(), Some(TokenTree::Punct(mark)) if mark.as_char() == '#') {
            tokens.next();
            if let Some(TokenTree::Group(attribute)) = tokens.next() {
                read_attribute(&attribute, &mut help, &mut settings)?;
            }
        }
        if matches!(tokens.peek(), Some(TokenTree::Ident(word)) if word.to_string() == "pub") {
            tokens.next();
            if matches!(tokens.peek(), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis)
            {
                tokens.next();
            }
        }
        let Some(TokenTree::Ident(name)) = tokens.next() else {
            return Err(Wrong::at(body.span(), "each part needs a name"));
        };
        if matches!(tokens.peek(), Some(TokenTree::Punct(mark)) if mark.as_char() == ':') {
            tokens.next();
        }
        let rest = until_comma(&mut tokens);
        parts.push(Part { name, help: help.join(" "), settings, rest });
    }
    Ok(parts)
}

/// What stands in front of the next comma that is not between `<` and `>`; the comma is taken too.
fn until_comma(tokens: &mut Tokens) -> TokenStream {
    let (mut depth, mut arrow) = (0_usize, false);
    let mut taken = Vec::new();
    for token in tokens.by_ref() {
        if let TokenTree::Punct(mark) = &token {
            match mark.as_char() {
                ',' if depth == 0 => break,
                '<' => depth += 1,
                '>' if !arrow => depth = depth.saturating_sub(1),
                _ => {}
            }
            arrow = mark.as_char() == '-' && mark.spacing() == Spacing::Joint;
        } else {
            arrow = false;
        }
        taken.push(token);
    }
    taken.into_iter().collect()
}

fn read_attribute(
    attribute: &Group,
    help: &mut Vec<String>,
    settings: &mut Vec<Setting>,
) -> Result<(), Wrong> {
    let mut tokens = attribute.stream().into_iter().peekable();
    let Some(TokenTree::Ident(name)) = tokens.next() else { return Ok(()) };
    match (name.to_string().as_str(), tokens.next()) {
        ("doc", Some(TokenTree::Punct(_))) => {
            if let Some(TokenTree::Literal(literal)) = tokens.next()
                && let Some(line) = text(&literal)
            {
                help.extend(line.split_whitespace().map(str::to_owned));
            }
            Ok(())
        }
        ("option", Some(TokenTree::Group(list))) => {
            let mut tokens = list.stream().into_iter().peekable();
            while let Some(token) = tokens.next() {
                let TokenTree::Ident(name) = token else {
                    return Err(Wrong::at(token.span(), "`name = value` is expected here"));
                };
                match tokens.next() {
                    Some(TokenTree::Punct(mark)) if mark.as_char() == '=' => {}
                    _ => return Err(Wrong::at(name.span(), format!("`{name}` needs a value: `{name} = …`"))),
                }
                let value: Vec<TokenTree> = until_comma(&mut tokens).into_iter().collect();
                if value.is_empty() {
                    return Err(Wrong::at(name.span(), format!("`{name}` needs a value")));
                }
                settings.push(Setting { name, value });
            }
            Ok(())
        }
        ("option", _) => Err(Wrong::at(name.span(), "write `#[option(…)]`")),
        _ => Ok(()),
    }
}

impl Setting {
    /// Its value, which must be a text.
    pub(crate) fn text(&self) -> Result<String, Wrong> {
        match self.value.as_slice() {
            [TokenTree::Literal(literal)] => text(literal),
            _ => None,
        }
        .ok_or_else(|| Wrong::at(self.name.span(), format!("`{}` is a text in quotes", self.name)))
    }
}

/// The text of a string literal; `None` for other literals.
pub(crate) fn text(literal: &Literal) -> Option<String> {
    let written = literal.to_string();
    if let Some(raw) = written.strip_prefix('r') {
        let inner = raw.trim_matches('#');
        return Some(inner.strip_prefix('"')?.strip_suffix('"')?.to_owned());
    }
    let mut letters = written.strip_prefix('"')?.strip_suffix('"')?.chars().peekable();
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.next()? {
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            '0' => text.push('\0'),
            'x' => {
                let digits: String = letters.by_ref().take(2).collect();
                text.push(char::from(u8::from_str_radix(&digits, 16).ok()?));
            }
            'u' => {
                let digits: String = letters.by_ref().skip(1).take_while(|letter| *letter != '}').collect();
                text.push(char::from_u32(u32::from_str_radix(&digits.replace('_', ""), 16).ok()?)?);
            }
            '\n' => while letters.next_if(|letter| letter.is_whitespace()).is_some() {},
            plain => text.push(plain),
        }
    }
    Some(text)
}

/// The tokens of `template`, in which the words `__0`, `__1`, … stand for these parts, with the places that they have in the
/// author's file.
pub(crate) fn fill(template: &str, parts: &[TokenStream]) -> TokenStream {
    let tokens: TokenStream = template.parse().expect("templates are constant and well formed");
    put_in(tokens, parts)
}

fn put_in(tokens: TokenStream, parts: &[TokenStream]) -> TokenStream {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Group(group) => {
                let mut filled = Group::new(group.delimiter(), put_in(group.stream(), parts));
                filled.set_span(group.span());
                TokenStream::from(TokenTree::from(filled))
            }
            TokenTree::Ident(word) => {
                let text = word.to_string();
                let part = text.strip_prefix("__").and_then(|number| number.parse::<usize>().ok());
                match part.and_then(|number| parts.get(number)) {
                    Some(part) => part.clone(),
                    None => TokenTree::from(word).into(),
                }
            }
            other => other.into(),
        })
        .collect()
}
