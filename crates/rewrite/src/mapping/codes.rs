//! The kinds of remark about mapping tables, each with its explanation.

use sluice_diag::{Code, Severity};

macro_rules! codes {
    ($($id:ident $severity:ident $name:literal $summary:literal $explanation:literal)*) => {
        $(pub(crate) static $id: Code = Code {
            name: $name,
            severity: Severity::$severity,
            summary: $summary,
            explanation: $explanation,
        };)*
        static ALL: &[&Code] = &[$(&$id),*];
    };
}

/// The codes about mapping tables, for `sluice explain`.
pub fn codes() -> &'static [&'static Code] {
    ALL
}

codes! {
    DANGLING Error "mapping-dangling-dollar"
        "`$` is the last character of a pattern or template"
        "`$` gives the next character a meaning, or takes its meaning away; at the end there is none. A blank behind it that an \
         editor took away is the usual reason. Write `$$` for a dollar sign."
    PATTERN_SEQUENCE Error "mapping-unknown-sequence"
        "a `$` sequence that patterns do not have"
        "In a pattern, `$` stands in front of a literal `*`, `%`, `$`, blank or tab, or begins a wildcard: a class letter (A B D H O S T X), \
         a set `[…]`, a back match `0`–`9`, the modifiers `_` (as little as possible), `@` (not kept) and `^` (kept), then `*` or `%`; or an \
         address `$(a.b.c.d/n)`, `$<a.b.c.d/n>`, `${ipv6/n}`. There is no form for \"all but these\".\n\nAll other characters stand for \
         themselves and need no `$`."
    NO_WILDCARD Error "mapping-class-without-wildcard"
        "a class, set or modifier is not followed by `*` or `%`"
        "`$D` alone matches nothing: write `$D%` for one digit or `$D*` for any number of them. All modifiers share one `$`: `$_D*`, `$@0*`."
    SET Error "mapping-bad-set"
        "a set of characters is not well formed"
        "A set is `$[`, characters and ranges, `]`, and behind it `%` or `*`: `$[a-f0-9]*`. Ranges go from the smaller to the greater character. \
         Inside a set `\\` takes the meaning of the next character away: `\\]`, `\\-`, `\\\\`."
    BACK_MATCH Error "mapping-bad-back-match"
        "a back match names a wildcard that is not in front of it"
        "`$0*` matches the text that the first kept wildcard of the pattern took, `$1*` the second, and so on. The wildcard must stand further \
         left; those written with `$@` are not counted."
    ADDRESS Error "mapping-bad-address"
        "an address in a pattern is not well formed"
        "`$(a.b.c.d/n)` matches the IPv4 addresses whose first n bits are these (32 if left out), `$<a.b.c.d/n>` those that differ in the last n \
         bits only (0 if left out), `${address/n}` IPv6 addresses with these first n bits (128 if left out). All four numbers must be there."
    BARE_NETWORK Warning "mapping-bare-network"
        "a network in a pattern is compared as text"
        "`10.0.0.0/8` without a `$` fits the text `10.0.0.0/8` and no address. `$(10.0.0.0/8)` fits the IPv4 addresses that begin with these 8 \
         bits, `${2001:db8::/32}` IPv6 addresses."
    LOOK_UP Error "mapping-bad-lookup"
        "a look-up or number in a template is not well formed"
        "`$|table;text|`, `${text}`, `$]url[`, `$[image,routine,text]`, `$}domain,attribute{`, `$#file|radix|width|modulus#` and `$?percent?` end \
         with their closing character. `$|` needs a `;` behind the table; the radix is 2 to 36; the file of a sequence is written out, for \
         what a stranger sends must not choose a file; `$:` and `$;` need a flag behind them."
    NO_MEANING Warning "mapping-needless-dollar"
        "a `$` in a template in front of a character that needs none"
        "The character stands for itself, as it would without the `$`. It may be that something else was meant: substitutions are `$0`–`$9`, \
         `${…}`, `$|…|`, `$#…#`, `$?…?`, and letters are flags."
    NO_SUCH_WILDCARD Warning "mapping-no-such-wildcard"
        "a template names a wildcard that its pattern does not have"
        "Wildcards are numbered from `$0`, from left to right; those written with `$@` are not counted, and only one digit is read: `$12` is \
         wildcard 1 and a `2`. The substitution puts in nothing."
    NO_SUCH_TABLE Warning "mapping-no-such-table"
        "a table is asked for that does not exist"
        "`$|table;text|` and, in rewrite rules, `${table,text}` ask a table of the mapping file. Without it the entry or rule fails each time. Table \
         names are compared without case."
    SHADOWED Warning "mapping-entry-shadowed"
        "an entry that is never reached"
        "Entries are tried from the top, and the first that matches ends the search unless its template says `$C`, `$L` or `$R`. An entry above this \
         one matches all that this one matches. Take one of them out, put the special one first, or write `$C` into the one above."
    NOT_AVAILABLE Warning "mapping-lookup-not-available"
        "a look-up that this hub does not do"
        "`$]url[` and `$}domain,attribute{` ask a directory. Here \
         they fail each time: the entry gives the text as it was, and ends the search unless `$C` stands in front. Use a text database \
         (`${text}`) or another table instead."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case_and_unique() {
        for (index, code) in codes().iter().enumerate() {
            assert!(code.name.starts_with("mapping-"));
            assert!(code.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
            assert!(codes()[..index].iter().all(|other| other.name != code.name), "{}", code.name);
        }
    }
}
