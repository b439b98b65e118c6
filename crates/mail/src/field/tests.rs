//! Fields as people and programs write them, and what is changed in them.
#![allow(clippy::unwrap_used)]
use super::*;

/// The addresses of a field, one blank between them.
fn read(body: &str) -> String {
    match addresses(body.as_bytes()) {
        Ok(found) => {
            let words: Vec<String> = found.iter().map(|one| format!("<{}>", one.address)).collect();
            words.join(" ")
        }
        Err(error) => error.to_string(),
    }
}

/// The field after each address has got another host.
fn with_host(body: &str, host: &str) -> String {
    changed(body, |address| Address { host: Some(host.to_owned()), ..address.clone() })
}

fn changed(body: &str, change: impl Fn(&Address) -> Address) -> String {
    let mut out = Vec::new();
    let mut at = 0;
    for one in addresses(body.as_bytes()).unwrap() {
        let Replacement { place, text } = one.replacement(body.as_bytes(), &change(&one.address));
        out.extend_from_slice(&body.as_bytes()[at..place.start]);
        out.extend(text);
        at = place.end;
    }
    out.extend_from_slice(&body.as_bytes()[at..]);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_usual_forms_are_read() {
    assert_eq!(read(" a@b\r\n"), "<a@b>");
    assert_eq!(read(" Ann <a@b>, \"Bert, K.\" <c@d>"), "<a@b> <c@d>");
    assert_eq!(read("a@b (Ann)"), "<a@b>");
    assert_eq!(read("root"), "<root>");
    assert_eq!(read("root, <staff>"), "<root> <staff>");
    assert_eq!(read("<>"), "");
    assert_eq!(read(""), "");
    assert_eq!(read(", ,a@b,,"), "<a@b>");
    assert_eq!(read("a%b@c, x!y, u%%v"), "<a%b@c> <x!y> <u%%v>");
    assert_eq!(read("u@[192.0.2.1], <v@[IPv6:::1]>"), "<u@[192.0.2.1]> <v@[IPv6:::1]>");
    assert_eq!(read("=?utf-8?Q?J=C3=B6rg?= <j@b>"), "<j@b>");
    assert_eq!(read("Jörg <j@bücher.example>"), "<j@bücher.example>");
    assert_eq!(read("J. K. Ann <a@b>"), "<a@b>");
    // What many programs write though no grammar has it.
    assert_eq!(read("a@b <a@b>"), "<a@b>");
    assert_eq!(read("a..b.@c"), "<a..b.@c>");
}

#[test]
fn folding_comments_and_blanks_between_the_parts_do_not_count() {
    assert_eq!(read(" Ann\r\n <a@b>,\r\n\tc@d\r\n"), "<a@b> <c@d>");
    assert_eq!(read("a . b @ c . d"), "<a.b@c.d>");
    assert_eq!(read("a(one).b@(two)c(three (nested \\) ))"), "<a.b@c>");
    assert_eq!(read("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>"), "<pete@silly.test>");
    assert_eq!(
        read(
            "A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)\r\n"
        ),
        "<c@public.example> <joe@example.org> <jdoe@one.test>"
    );
    assert_eq!(read("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;"), "");
}

#[test]
fn routes_are_read_with_brackets_and_without() {
    assert_eq!(read("<@a,@b:u@c>"), "<@a,@b:u@c>");
    assert_eq!(read("Ann < @a , @b : u @ c >, x@y"), "<@a,@b:u@c> <x@y>");
    assert_eq!(read("@a,@b:u@c, x@y"), "<@a,@b:u@c> <x@y>");
    assert_eq!(read("<@[IPv6:::1]:u@c>"), "<@[IPv6:::1]:u@c>");
}

#[test]
fn groups_are_read_and_do_not_nest() {
    assert_eq!(read("staff: a@b, Ann <c@d>;, e@f"), "<a@b> <c@d> <e@f>");
    assert_eq!(read("\"a@b\": ;"), "");
    assert_eq!(read("a: b: c@d;;"), "something unexpected at octet 4");
    assert_eq!(read("a: b@c"), "a group is not closed");
    assert_eq!(read("a: b@c; d@e"), "something unexpected at octet 8");
    assert_eq!(read("a@b; c@d"), "something unexpected at octet 3");
}

#[test]
fn quoted_text_stays_quoted() {
    assert_eq!(read(r#""a b"@c, <"x\"y">"#), r#"<"a b"@c> <"x\"y">"#);
    assert_eq!(read(r#""a@b" <c@d>"#), "<c@d>");
    assert_eq!(read(r#""<a@b>, e" (,;<) <c@d>"#), "<c@d>");
}

#[test]
fn what_is_no_field_of_addresses_is_said() {
    assert_eq!(read("John Smith"), "words that are no address at octet 5");
    assert_eq!(read("a@b (c"), "a comment is not closed");
    assert_eq!(read("a@b (c\\"), "a comment is not closed");
    assert_eq!(read("\"a@b"), "a quoted string is not closed");
    assert_eq!(read("\"a\\"), "a quoted string is not closed");
    assert_eq!(read("a@[b"), "a domain literal is not closed");
    assert_eq!(read("<a@b"), "an angle bracket is not closed");
    assert_eq!(read("<a@b> c"), "something unexpected at octet 6");
    assert_eq!(read("a@b > c"), "something unexpected at octet 4");
    assert_eq!(read("a\\b@c"), "something unexpected at octet 1");
    assert_eq!(read("a)"), "something unexpected at octet 1");
    assert_eq!(read("a\0@b"), "something unexpected at octet 1");
}

#[test]
fn an_address_that_is_none_is_passed_over() {
    assert_eq!(read("a@b..c, d@e"), "<d@e>");
    assert_eq!(read("<a@>, d@e"), "<d@e>");
    assert_eq!(read("<@>, <@h>, d@e"), "<d@e>");
    assert_eq!(read("a@b@c, d@e"), "<d@e>");
    assert_eq!(read("\"a\r\n b\"@c, d@e"), "<d@e>");
    let long = format!("{}@b, d@e", "x".repeat(2000));
    assert_eq!(read(&long), "<d@e>");
    assert_eq!(addresses(b"\xff@b, d@e").unwrap().len(), 1);
    assert_eq!(addresses(b"\xff\xfe <d@e>").unwrap().len(), 1);
}

#[test]
fn only_what_changes_is_replaced() {
    assert_eq!(
        with_host(" Ann  < a@b >,\r\n\tc@D (x)\r\n", "h.example"),
        " Ann  < a@h.example >,\r\n\tc@h.example (x)\r\n"
    );
    assert_eq!(with_host("a (one) @ b (two)", "h"), "a (one) @ h (two)");
    assert_eq!(with_host("root, Ann <ann>", "h"), "root@h, Ann <ann@h>");
    assert_eq!(with_host("g: a@b, c ;", "h"), "g: a@h, c@h ;");
    assert_eq!(with_host("\"a b\"@c", "h"), "\"a b\"@h");
    assert_eq!(with_host("<@r:u@c>, @r:u@c", "h"), "<@r:u@h>, @r:u@h");
    let local = |address: &Address| Address { local: "z".to_owned(), ..address.clone() };
    assert_eq!(changed("A <a(x)@b>, c.d@e", local), "A <z(x)@b>, z@e");
}

#[test]
fn comments_within_what_goes_are_kept_behind_it() {
    assert_eq!(with_host("u@a.(inside)b (behind)", "h"), "u@h (inside) (behind)");
    let both = |_: &Address| Address::new("v", "h");
    assert_eq!(changed("u(one)@(two)b (three)", both), "v@h (one) (two) (three)");
}

#[test]
fn a_route_gets_brackets() {
    let routed = |address: &Address| Address { route: vec!["r".to_owned()], ..address.clone() };
    assert_eq!(changed("u@b (Ann), Bert <v@b>", routed), "<@r:u@b> (Ann), Bert <@r:v@b>");
    let bare = |address: &Address| Address { route: Vec::new(), ..address.clone() };
    assert_eq!(changed("<@r:u@b>, @r:u@b", bare), "<u@b>, u@b");
}

#[test]
fn elements_are_what_stands_between_the_commas() {
    let shown = |body: &str| {
        let found: Vec<String> = elements(body.as_bytes())
            .unwrap()
            .into_iter()
            .map(|one| body[one].replace("\r\n", "~"))
            .collect();
        found.join("|")
    };
    assert_eq!(shown(" a@b, (c, d) \"x, y\" <e@f> (g) ,, h\r\n"), "a@b|(c, d) \"x, y\" <e@f> (g)|h");
    assert_eq!(
        shown("g: a@b, c@d; (x), <@a,@b:e@f>,\r\n @a,@b:u@c"),
        "g: a@b, c@d; (x)|<@a,@b:e@f>|@a,@b:u@c"
    );
    assert_eq!(shown(""), "");
    assert!(elements(b"a b").is_err());
}
