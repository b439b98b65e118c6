//! The main file: rewrite rules, the blank line, channel blocks. What was written, with all that is wrong about its form.
//!
//! The work is to give exactly one diagnostic for a slip. A blank line too many or too few changes what every line
//! behind it means; such a line is recognised by what it looks like, reported once, and read as what it was meant to be.

use crate::codes;
use crate::grammar::{self, Word};
use crate::keyword::{Arguments, keyword};
use crate::lines::{Line, Reader, Text};
use crate::model::{HostName, Keyword, Rule, is_local_name};
use crate::written::{self, is_channel_name};
use sluice_diag::{Diagnostic, Severity, Span, errors_in, nearest};

/// Octets in a name of the channel table (Messaging Server books, "channel block").
const HOST_NAME_LENGTH_MAX: usize = 128;
/// Characters in a channel name.
const CHANNEL_NAME_LENGTH_MAX: usize = 32;

/// The main file as written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) rules: Vec<Rule>,
    pub(crate) blocks: Vec<Block>,
}

/// A channel block as written, keywords of `defaults` blocks above it included.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) keywords: Vec<Keyword>,
    /// Words among them that are no keywords.
    pub(crate) groups: Vec<String>,
    /// The official host first; empty when that is missing.
    pub(crate) hosts: Vec<HostName>,
    pub(crate) local_alias: Option<String>,
    /// Whether the first line has errors; what seems to be missing on it may be what is misspelt.
    pub(crate) misspelt: bool,
}

/// Reads the lines of the main file.
pub(crate) fn read(text: &Text, reader: &mut Reader<'_>) -> Written {
    let mut main = Main {
        reader,
        lines: &text.lines,
        next: 0,
        written: Written::default(),
        defaults: Vec::new(),
        default_groups: Vec::new(),
        blocks_seen: false,
    };
    main.rules();
    while main.next < main.lines.len() {
        main.group();
    }
    let (written, blocks_seen) = (main.written, main.blocks_seen);
    // A `defaults` line alone is no channel. A block that was refused has its own remark.
    let without_word = written.blocks.is_empty() && !errors_in(&reader.diagnostics);
    if text.complete && (!blocks_seen || without_word) {
        let remark = Diagnostic::new(&codes::NO_CHANNELS, "the file has no channel blocks");
        let help = "put a blank line behind the rewrite rules, and channel blocks behind it, `l` first";
        reader.push(remark.at(Span::new(text.source, 0, 0)).help(help));
    }
    written
}

struct Main<'a, 'r> {
    reader: &'a mut Reader<'r>,
    lines: &'a [Line],
    next: usize,
    written: Written,
    /// Keywords that blocks start from.
    defaults: Vec<Keyword>,
    /// Words among these that are no keywords.
    default_groups: Vec<String>,
    /// Whether a block, `defaults` included, has been read.
    blocks_seen: bool,
}

impl<'a> Main<'a, '_> {
    fn push(&mut self, diagnostic: Diagnostic) {
        self.reader.push(diagnostic);
    }

    /// Reports what makes no sense about the form of a line. When a continuation was lost there, that is the mistake,
    /// and it is an error now.
    fn misshapen(&mut self, line: &Line, diagnostic: Diagnostic) {
        match line.lost_continuation.and_then(|index| self.reader.diagnostics.get_mut(index)) {
            Some(lost) => lost.severity = Severity::Error,
            None => self.push(diagnostic),
        }
    }

    /// The line at `next`, which moves on; `None` at a blank line or the end.
    fn take(&mut self) -> Option<&'a Line> {
        let line = self.lines.get(self.next).filter(|line| !line.is_blank())?;
        self.next += 1;
        Some(line)
    }

    /// The first part of the file.
    fn rules(&mut self) {
        while let Some(line) = self.lines.get(self.next).filter(|line| !line.is_blank()) {
            if looks_like_block(line, BlockIn::Rules) {
                self.blank_line_missing(line);
                self.block();
                return;
            }
            self.next += 1;
            self.rule(line);
        }
    }

    fn blank_line_missing(&mut self, line: &Line) {
        let name = line.text.split_whitespace().next().unwrap_or_default();
        let message = format!("a blank line is missing in front of the channel block `{name}`");
        let remark = Diagnostic::new(&codes::MISSING_BLANK_LINE, message).at(line.whole());
        self.push(remark.help("put a blank line in front of this line"));
    }

    /// Whether the line is a comment or an include that does not begin in column one, or a comment of another language;
    /// reports it.
    fn misplaced(&mut self, line: &Line) -> bool {
        let text = line.text.trim_start();
        let indent = line.text.len() - text.len();
        let span = line.span(&(indent..indent + 1));
        if text.starts_with('!') {
            let message = "`!` makes a comment only in column one";
            let remark = Diagnostic::new(&codes::MISPLACED_COMMENT, message).at(span);
            self.push(remark.help("take out the blanks in front of it"));
        } else if text.starts_with('<') {
            let remark = Diagnostic::new(&codes::MISPLACED_INCLUDE, "`<` includes a file only in column one");
            self.push(remark.at(span).help("take out the blanks in front of it"));
        } else if let Some(remark) = written::foreign_comment(text, span) {
            self.push(remark);
        } else {
            return false;
        }
        true
    }

    fn rule(&mut self, line: &Line) {
        if self.misplaced(line) {
            return;
        }
        let Some((pattern, template)) = grammar::rule_line(&line.text) else { return };
        let span = line.span(&pattern.range);
        let Some(template) = template else {
            let message = format!("the rule for `{}` has no template", pattern.text);
            let remark = Diagnostic::new(&codes::RULE_WITHOUT_TEMPLATE, message).at(span);
            let help = if written::holds_invisible_blank(&pattern.text) {
                "it holds a blank that only looks like one; type it anew"
            } else {
                "write a template behind the pattern, such as `$U%$H$D@TCP-DAEMON`"
            };
            self.misshapen(line, remark.help(help));
            return;
        };
        self.written.rules.push(Rule {
            span,
            template_span: line.span(&template.range),
            template_pieces: line.pieces_of(&template.range),
            pattern: pattern.text,
            template: template.text,
        });
    }

    /// What stands between two blank lines in the second part of the file.
    fn group(&mut self) {
        let mut blank = None;
        while let Some(line) = self.lines.get(self.next).filter(|line| line.is_blank()) {
            blank = blank.or(Some(line));
            self.next += 1;
        }
        let Some(first) = self.lines.get(self.next) else { return };
        if looks_like_rule(first) {
            self.stray_rules(first, blank);
        } else {
            self.block();
        }
    }

    /// Rules where blocks are expected.
    fn stray_rules(&mut self, first: &Line, blank: Option<&Line>) {
        let pattern = first.text.split_whitespace().next().unwrap_or_default().to_owned();
        let remark = match blank {
            Some(blank) if !self.blocks_seen => {
                let message = format!(
                    "blank line inside the rewrite rules: the rule for `{pattern}` is read as a channel block"
                );
                Diagnostic::new(&codes::BLANK_LINE_IN_RULES, message)
                    .at(blank.whole())
                    .note(first.whole(), "this looks like a rewrite rule")
                    .help("take the blank line out, or put a `!` in its first column")
            }
            _ => {
                let message = format!("the rewrite rule for `{pattern}` stands below the channel table");
                Diagnostic::new(&codes::RULE_AFTER_CHANNELS, message)
                    .at(first.whole())
                    .help("move it up to the other rules, above the first blank line")
            }
        };
        self.push(remark);
        self.rules();
    }

    /// A channel block, or several that no blank line separates.
    fn block(&mut self) {
        while self.one_block() == Follows::Block {}
    }

    fn one_block(&mut self) -> Follows {
        let Some(line) = self.take() else { return Follows::Blank };
        if self.misplaced(line) {
            return Follows::Block;
        }
        let words = grammar::channel_line(&line.text);
        let Some((name, rest)) = words.split_first() else { return Follows::Block };
        self.blocks_seen = true;
        if name.is_bare() && name.text.eq_ignore_ascii_case("defaults") {
            let (keywords, groups) = written::read_keywords(rest, line, &mut self.reader.diagnostics);
            self.default_groups.extend(groups);
            written::put_in_force(&mut self.defaults, &keywords);
            for keyword in &mut self.defaults {
                keyword.inherited = true;
            }
            return self.below_defaults("defaults");
        }
        if name.is_bare() && name.text.eq_ignore_ascii_case("nodefaults") {
            if let Some(word) = rest.first() {
                let remark = Diagnostic::new(&codes::EXTRA_WORDS, "`nodefaults` takes no keywords");
                let remark = remark.at(line.span(&word.range));
                self.push(remark.help("write the keywords on a `defaults` line of its own"));
            }
            self.defaults.clear();
            self.default_groups.clear();
            return self.below_defaults("nodefaults");
        }
        if let Some(meant) = self.meant_as_defaults(name, rest) {
            let message = format!("no official host name for channel `{}`", name.text);
            let remark = Diagnostic::new(&codes::NO_OFFICIAL_HOST, message).at(line.span(&name.range));
            self.push(remark.help(format!("did you mean `{meant}`?")));
            return Follows::Blank;
        }
        let before = self.reader.diagnostics.len();
        let name_fits = self.check_channel_name(name, line);
        let (own, own_groups) = written::read_keywords(rest, line, &mut self.reader.diagnostics);
        let mut groups = self.default_groups.clone();
        groups.extend(own_groups);
        let mut keywords = self.defaults.clone();
        written::put_in_force(&mut keywords, &own);
        let mut block = Block {
            name: if name_fits { name.text.clone() } else { name.text.to_ascii_lowercase() },
            span: line.span(&name.range),
            keywords,
            groups,
            hosts: Vec::new(),
            local_alias: None,
            misspelt: errors_in(&self.reader.diagnostics[before..]),
        };
        let mut follows = self.host_lines(&mut block);
        if block.hosts.is_empty() {
            follows = self.no_official_host(&mut block, line);
        }
        self.written.blocks.push(block);
        follows
    }

    /// Which of `defaults` and `nodefaults` a block of one line is, when its name is nearly that.
    fn meant_as_defaults(&self, name: &Word, rest: &[Word]) -> Option<&'static str> {
        let alone = self.lines.get(self.next).is_none_or(Line::is_blank);
        let keywords = rest.first().is_none_or(written::is_keyword);
        let near = nearest(&name.text.to_ascii_lowercase(), ["defaults", "nodefaults"].into_iter());
        near.filter(|_| alone && keywords && name.text.to_ascii_lowercase().contains("def"))
    }

    /// `defaults` and `nodefaults` have one line.
    fn below_defaults(&mut self, name: &str) -> Follows {
        let mut said = false;
        while let Some(line) = self.lines.get(self.next).filter(|line| !line.is_blank()) {
            if looks_like_block(line, BlockIn::Defaults) {
                self.blank_line_missing(line);
                return Follows::Block;
            }
            if !said {
                let remark =
                    Diagnostic::new(&codes::LINE_AFTER_DEFAULTS, format!("a line below `{name}` is ignored"));
                let remark =
                    remark.at(line.whole()).help("continue the line above with `\\`, or take this one out");
                self.misshapen(line, remark);
            }
            said = true;
            self.next += 1;
        }
        Follows::Blank
    }

    fn check_channel_name(&mut self, name: &Word, line: &Line) -> bool {
        if name.is_bare() && is_channel_name(&name.text) {
            return true;
        }
        let (text, length) = (&name.text, name.text.chars().count());
        let lower = text.to_ascii_lowercase();
        let (message, help) = if length > CHANNEL_NAME_LENGTH_MAX {
            let message = format!("the channel name `{text}` has {length} characters, more than 32");
            (message, "use a shorter name".to_owned())
        } else {
            let odd =
                text.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "_$".contains(*c)));
            let message = format!("the channel name `{text}` holds `{}`", odd.unwrap_or('"'));
            let help = if is_channel_name(&lower) {
                format!("channel names are lower case: write `{lower}`")
            } else {
                "channel names have lower-case letters, digits, `_` and `$`".to_owned()
            };
            (message, help)
        };
        let remark = Diagnostic::new(&codes::BAD_CHANNEL_NAME, message).at(line.span(&name.range)).help(help);
        self.misshapen(line, remark);
        false
    }

    fn host_lines(&mut self, block: &mut Block) -> Follows {
        while let Some(line) = self.lines.get(self.next).filter(|line| !line.is_blank()) {
            if !block.hosts.is_empty() && looks_like_block(line, BlockIn::Hosts) {
                self.blank_line_missing(line);
                return Follows::Block;
            }
            self.next += 1;
            if !self.misplaced(line) {
                self.host_line(line, block);
            }
        }
        Follows::Blank
    }

    fn host_line(&mut self, line: &Line, block: &mut Block) {
        let Some((first, second, extra)) = grammar::host_line(&line.text) else { return };
        let official = block.hosts.is_empty();
        let span = line.span(&first.range);
        let comment = second.as_ref().or(extra.as_ref()).filter(|word| word.text.starts_with('!'));
        let comment = comment.or(extra.as_ref().filter(|word| word.text.starts_with('!')));
        if let Some(word) = comment {
            let message = "`!` makes a comment only in column one";
            let remark = Diagnostic::new(&codes::MISPLACED_COMMENT, message).at(line.span(&word.range));
            self.push(remark.help("put the comment on a line of its own"));
        } else if keywords_on_host_line(line, &first, second.as_ref(), official) {
            block.misspelt = true;
            let message = format!(
                "`{}` stands in the place of a host name, and is a keyword of channel `{}`",
                first.text, block.name
            );
            let help = if official {
                "end the line above with `\\`"
            } else {
                "keywords belong on the first line of the block, which `\\` continues"
            };
            self.misshapen(line, Diagnostic::new(&codes::MISSING_CONTINUATION, message).at(span).help(help));
            return;
        } else if let Some(extra) = &extra {
            let what = if official {
                "an official host name and a local alias"
            } else {
                "a host name and a proper name"
            };
            let message = format!("`{}` is one word too many: the line holds {what}", extra.text);
            let remark = Diagnostic::new(&codes::EXTRA_WORDS, message).at(line.span(&extra.range));
            self.misshapen(line, remark.help("keywords belong on the first line of the block"));
        } else if line.lost_continuation.is_some() && keyword(&first.text).is_some() {
            self.misshapen(
                line,
                Diagnostic::new(&codes::EXTRA_WORDS, "keywords in the place of a host name"),
            );
        }
        let second = second.filter(|word| !word.text.starts_with('!'));
        self.check_host(&first, line, official, block);
        if let Some(second) = &second {
            self.check_host(second, line, false, block);
        }
        let second = second.map(|word| word.text);
        let proper = match (official, second) {
            (true, second) => {
                block.local_alias = second;
                None
            }
            (false, Some(proper)) => Some(proper),
            (false, None) => block.hosts.first().map(|host| host.name.clone()),
        };
        block.hosts.push(HostName { name: first.text, proper, span });
    }

    fn check_host(&mut self, word: &Word, line: &Line, official: bool, block: &Block) {
        let span = line.span(&word.range);
        let length = word.text.len();
        if length > HOST_NAME_LENGTH_MAX {
            let phrase = if official {
                "official host name is too long"
            } else {
                "local host alias or proper name too long"
            };
            let message = format!(
                "{phrase}: channel `{}`, {length} octets, more than {HOST_NAME_LENGTH_MAX}",
                block.name
            );
            let remark = Diagnostic::new(&codes::HOST_NAME_TOO_LONG, message).at(span);
            self.push(remark.help("use a short name here, and a rule that sends the long one to it"));
            return;
        }
        let odd = word.text.chars().find(|c| "@%!$\"()<>,;\\'`/=*?&|{}^".contains(*c));
        if let Some(odd) = odd {
            let message =
                format!("`{}` in channel `{}` is no host name: it holds `{odd}`", word.text, block.name);
            let remark = Diagnostic::new(&codes::BAD_HOST_NAME, message).at(span);
            self.misshapen(line, remark.help("is a blank line missing, or one too many?"));
        }
    }

    /// The block has one line. A blank line inside it is the likely reason when the next lines can be nothing but names.
    fn no_official_host(&mut self, block: &mut Block, line: &Line) -> Follows {
        let message = format!("no official host name for channel `{}`", block.name);
        let remark = Diagnostic::new(&codes::NO_OFFICIAL_HOST, message).at(block.span);
        let blanks = self.lines[self.next..].iter().take_while(|line| line.is_blank()).count();
        let below = self.lines.get(self.next + blanks).filter(|_| blanks > 0);
        if let Some(below) = below.filter(|line| looks_like_host_line(line)) {
            let blank = self.lines[self.next].whole();
            let name = below.text.split_whitespace().next().unwrap_or_default();
            let remark = remark
                .note(blank, format!("this blank line ends the block in front of `{name}`"))
                .help("take out the blank line inside the block");
            self.misshapen(line, remark);
            self.next += blanks;
            self.host_lines(block)
        } else {
            let remark = remark.help("write the host name of the channel on the line below its keywords");
            self.misshapen(line, remark);
            Follows::Blank
        }
    }
}

/// What comes behind a block.
#[derive(Clone, Copy, PartialEq)]
enum Follows {
    /// A blank line, or the end of the file.
    Blank,
    /// A line that begins a block though no blank line stands in front of it.
    Block,
}

/// Where a line stands that may be the beginning of a block.
#[derive(Clone, Copy, PartialEq)]
enum BlockIn {
    Rules,
    Defaults,
    Hosts,
}

/// Whether a line in another place can only have been meant as the first line of a channel block.
fn looks_like_block(line: &Line, place: BlockIn) -> bool {
    // Nearly all lines are rules, and a look at their first two words is enough for those: only what begins with a
    // channel name goes on, and with one that nobody else would use, or that a keyword follows.
    if let Some((first, second)) = grammar::first_words(&line.text) {
        let Some(name) = first.filter(|name| is_channel_name(name)) else { return false };
        let telling = is_local_name(name)
            || name.starts_with("tcp_")
            || matches!(name, "defaults" | "nodefaults")
            || second.is_some_and(|second| keyword(second).is_some());
        if !telling {
            return false;
        }
    }
    let words = grammar::channel_line(&line.text);
    let Some((name, rest)) = words.split_first() else { return false };
    if !name.is_bare() || !is_channel_name(&name.text) {
        return false;
    }
    let reserved = is_local_name(&name.text) || matches!(name.text.as_str(), "defaults" | "nodefaults");
    let Some(second) = rest.first() else {
        // A line of one word has no other meaning among rules; among names it is a host name.
        return place != BlockIn::Hosts && (reserved || name.text.starts_with("tcp_"));
    };
    if !written::is_keyword(second) {
        // Without any of these characters the line is no rule; with a keyword further on it is a block whose first
        // keyword is misspelt.
        if reserved && place == BlockIn::Rules && !line.text.contains(['$', '@', '%']) {
            return true;
        }
        return rest.get(1).is_some_and(written::is_keyword) && (reserved || name.text.starts_with("tcp_"));
    }
    match place {
        BlockIn::Rules => !line.text.contains(['$', '@', '%']) || reserved || name.text.starts_with("tcp_"),
        BlockIn::Defaults => !written::is_keyword(name),
        BlockIn::Hosts => reserved || rest.len() > 1 || name.text.contains('_'),
    }
}

/// Whether a line in the place of a channel block is a rewrite rule: its second word begins with `$`, or holds `$U`.
fn looks_like_rule(line: &Line) -> bool {
    let Some((_, Some(template))) = grammar::rule_line(&line.text) else { return false };
    let first = template.text.split_whitespace().next().unwrap_or_default();
    first.starts_with('$') || first.contains("$U") || first.contains("$u")
}

/// Whether a line in the place of host names goes on with the keywords above it, whose `\` was forgotten. A host may be
/// called like a keyword (`mx`, `smtp`), so that alone is not enough: the line is indented as continuations are, or goes
/// on with another keyword, or with the argument of the first.
fn keywords_on_host_line(line: &Line, first: &Word, second: Option<&Word>, official: bool) -> bool {
    let Some(info) = keyword(&first.text) else { return false };
    let indented = line.text.starts_with([' ', '\t']);
    let goes_on =
        |second: &Word| written::is_keyword(second) || official && info.arguments != Arguments::None;
    indented || second.is_some_and(goes_on)
}

/// Whether a line behind a blank line can be nothing but a host name that lost its block.
fn looks_like_host_line(line: &Line) -> bool {
    let Some((first, second, extra)) = grammar::host_line(&line.text) else { return false };
    let name = first.text.as_str();
    let named = name.chars().any(|c| c.is_ascii_uppercase() || c == '.' || c == '-' || c == '[');
    let fits = name.chars().all(|c| c.is_alphanumeric() || ".-_[]:".contains(c)) && !is_channel_name(name);
    let keywords = second.is_some_and(|word| written::is_keyword(&word));
    extra.is_none() && named && fits && !keywords
}
