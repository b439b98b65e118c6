//! The compiled rules and the walk of one address through them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use sluice_config::{Channel, Config, Database};
use sluice_diag::Diagnostic;
use sluice_mail::{Address, Status, u_labels};

use crate::alias;
use crate::check::{self, Checker};
pub use crate::circumstances::{Context, Kind, Route};
use crate::destinations::Destinations;
use crate::direct::{Direct, Made};
use crate::evaluate::{self, ErrorText, Output, Program, Shape, Subject, Surroundings};
use crate::known::Known;
use crate::lookups::{Lookups, RoutineCall, routine_names};
use crate::mapping::{Answer, Flags, MappingTables};
use crate::place::{self, First, Position};
use crate::probe::{self, Matched, Reach};
use crate::rejected::Rejected;
use crate::table::{self, Table};
use crate::template::{self, LookUp, Op, Template};
use crate::trace::{RuleText, Step, Trace};

mod ready;

/// How many times `A%B` templates may send one address round again before it is refused. The documents name no limit;
/// honest rules need two or three.
pub const REPEATS_MAX: u32 = 32;

/// The reason given when no rule has its own: the words of PMDF's rewriting test.
pub const DEFAULT_ERROR_TEXT: &str = "illegal host/domain name found";

const DOMAIN_DATABASE: &str = "domain";

const LOOP_TEXT: &str = "rewrite loop";

/// The rules and the channel table of one configuration, ready for any number of threads.
pub struct Rewriter {
    config: Arc<Config>,
    /// The templates of the rules of the configuration, in the same order.
    programs: Vec<Program>,
    /// The patterns, and those of the programs that are of the common shape.
    table: Table,
    destinations: Destinations,
    /// What it is of use to ask the table and the domain database for.
    reach: Reach,
    known: Known,
    hosted: Box<dyn Fn(&str) -> bool + Send + Sync>,
    pub(crate) lookups: Arc<dyn Lookups>,
    mappings: MappingTables,
    routines: Vec<RoutineCall>,
    has_domain_database: bool,
}

impl fmt::Debug for Rewriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewriter").field("rules", &self.programs.len()).finish_non_exhaustive()
    }
}

impl Rewriter {
    /// Compiles the rules of a configuration and checks them. A rule with a mistake never applies; the others do.
    pub fn compile(config: Arc<Config>) -> (Rewriter, Vec<Diagnostic>) {
        let is_channel = |name: &str| config.channels.by_name(name).is_some();
        let (mut table, slot_of) = Table::new(config.rules.iter().map(|rule| rule.pattern.as_str()));
        let mut checker = Checker::new(&config, &table, &slot_of);
        let mut programs = Vec::with_capacity(config.rules.len());
        let (mut directs, mut texts) = (Vec::with_capacity(config.rules.len()), String::new());
        let mut routines = Vec::new();
        // One template at a time: read apart, with all its places, they take several times the memory of the rules.
        for (index, rule) in config.rules.iter().enumerate() {
            let template = template::parse(&rule.template, &is_channel);
            checker.rule(index, rule, &template);
            directs.push(Direct::new(template.ops.iter().map(|(op, _)| op), &config.channels, &mut texts));
            routines.extend(routine_calls(rule, &template));
            programs.push(Program::new(template));
        }
        let mut diagnostics = checker.finish();
        table.shorten(&directs, &texts);
        drop((directs, texts));
        let destinations = Destinations::new(&config.channels);
        diagnostics.extend(check::domain_database(&config));
        let (mappings, found) = MappingTables::compile(&config.mappings);
        diagnostics.extend(found);
        let domains = config.databases.get(DOMAIN_DATABASE);
        let mut reach = table.reach();
        reach.add_length(domains.map_or(0, Database::key_length_max));
        let has_domain_database = domains.is_some_and(|domains| !domains.is_empty());
        let known = Known::new(&config);
        let lookups: Arc<dyn Lookups> = Arc::clone(&config) as Arc<dyn Lookups>;
        let mut rewriter = Rewriter {
            config,
            programs,
            table,
            destinations,
            reach,
            known,
            hosted: Box::new(|_| false),
            lookups,
            mappings,
            routines,
            has_domain_database,
        };
        diagnostics.extend(alias::check(&mut rewriter));
        (rewriter, diagnostics)
    }

    /// The same rules with an answer for `$V` and `$Z`: is this domain (lower case) hosted here? Without one, none is.
    #[must_use]
    pub fn with_hosted(mut self, hosted: impl Fn(&str) -> bool + Send + Sync + 'static) -> Rewriter {
        self.hosted = Box::new(move |domain| hosted(&domain.to_lowercase()));
        self
    }

    /// The same rules with another answer for look-ups. The domain database is asked in it too, for as long a key as the
    /// configuration has patterns for.
    #[must_use]
    pub fn with_lookups(mut self, lookups: Arc<dyn Lookups>) -> Rewriter {
        self.lookups = lookups;
        self
    }

    /// What answers look-ups.
    pub fn lookups(&self) -> &Arc<dyn Lookups> {
        &self.lookups
    }

    /// The routines that rules and mapping tables call. Text from databases may call more.
    pub fn routines(&self) -> impl Iterator<Item = &RoutineCall> {
        self.routines.iter().chain(self.mappings.routines())
    }

    /// The mapping tables of the configuration.
    pub fn mappings(&self) -> &MappingTables {
        &self.mappings
    }

    /// Asks a mapping table, with what [`Rewriter::lookups`] knows. `None`: there is no such table.
    pub fn map(&self, table: &str, text: &str, flags: Flags) -> Option<Answer> {
        self.mappings.probe(table, text, flags, &*self.lookups)
    }

    /// The configuration the rules are from.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Is there a rule pattern or a channel host that is this domain, or under it? Costs by the logarithm of the rules.
    pub fn knows_under(&self, domain: &str) -> bool {
        self.known.under(domain)
    }

    fn rule_text(&self, rule: usize) -> RuleText {
        let rule = &self.config.rules[rule];
        RuleText { pattern: rule.pattern.clone(), template: rule.template.clone(), span: Some(rule.span) }
    }

    /// Rewrites one address.
    ///
    /// An address without local part is not changed, but the channel its host belongs to is still found: that is how
    /// the address of a client is asked for its channel.
    pub fn route(
        &self,
        address: &Address,
        context: &Context<'_>,
        trace: Option<&mut Trace>,
    ) -> Result<Route, Rejected> {
        self.route_as(address, context, false, trace)
    }

    /// The same for mail that comes in again (`again`): then `$1M` applies whatever its source channel is.
    pub(crate) fn route_as(
        &self,
        address: &Address,
        context: &Context<'_>,
        again: bool,
        trace: Option<&mut Trace>,
    ) -> Result<Route, Rejected> {
        let channels = &self.config.channels;
        let destination = match context.kind {
            Kind::EnvelopeTo => None,
            _ => context.destination_channel.map(|name| (name, channels.by_name(name))),
        };
        let source = channels.by_name(context.source_channel);
        let is_channel = |name: &str| channels.by_name(name).is_some();
        let mut walk = Walk {
            rewriter: self,
            surroundings: Surroundings {
                kind: context.kind,
                source_name: context.source_channel,
                again,
                source,
                destination,
                hosted: &*self.hosted,
                lookups: &*self.lookups,
                mappings: &self.mappings,
                is_channel: &is_channel,
            },
            bang_over_percent: source.is_some_and(|channel| channel.settings.bang_over_percent),
            trace,
            tag: Cow::Borrowed(""),
            error: None,
            repeats: 0,
            buffer: String::new(),
        };
        walk.step(|| Step::Begin {
            address: address.to_string(),
            kind: context.kind,
            source_channel: context.source_channel.to_owned(),
        });
        let unanswered = self.lookups.unanswered();
        let result = walk.route(address);
        let result =
            if self.lookups.unanswered() == unanswered { result } else { Err(Rejected::unavailable()) };
        match &result {
            Ok(route) => walk
                .step(|| Step::Done { address: route.address.to_string(), channel: route.channel.clone() }),
            Err(rejected) => walk.step(|| Step::Refused { text: rejected.text.clone() }),
        }
        result
    }
}

fn routine_calls(rule: &sluice_config::Rule, template: &Template) -> impl Iterator<Item = RoutineCall> {
    template.ops.iter().filter_map(|(op, place)| {
        let Op::LookUp { kind: LookUp::Routine, .. } = op else { return None };
        let inside = rule.template.get(place.start + 2..place.end - 1)?;
        let (image, routine, _) = routine_names(inside)?;
        let span = rule.template_part(place.start, place.end);
        Some(RoutineCall { image: image.to_owned(), routine: routine.to_owned(), span })
    })
}

/// One address on its way. The tag and the error text stay for the whole way.
struct Walk<'r, 's, 't> {
    rewriter: &'r Rewriter,
    surroundings: Surroundings<'s>,
    bang_over_percent: bool,
    trace: Option<&'t mut Trace>,
    tag: Cow<'r, str>,
    error: Option<ErrorText<'r>>,
    repeats: u32,
    /// For probes that stand nowhere in a host.
    buffer: String,
}

/// A template's result that no longer borrows the address it was made from.
struct Built<'r> {
    target: Target,
    tag: Option<Cow<'r, str>>,
    error: Option<ErrorText<'r>>,
}

enum Target {
    Again {
        user: String,
        host: String,
    },
    Routed {
        user: String,
        host: String,
        via: Option<String>,
        system: String,
    },
    /// As `Routed`, and the number of the channel to which the system belongs is known.
    Direct {
        made: Made,
        channel: u32,
    },
    AsIs,
}

impl<'r> Walk<'r, '_, '_> {
    fn step(&mut self, step: impl FnOnce() -> Step) {
        if let Some(trace) = &mut self.trace {
            trace.steps.push(step());
        }
    }

    fn route(&mut self, address: &Address) -> Result<Route, Rejected> {
        let mut work = Cow::Borrowed(address);
        if address.is_null() {
            self.step(|| Step::NotRewritten);
            let local = self.rewriter.config.channels.local();
            let host = &local.official_host;
            return Ok(Route::changed(
                address.clone(),
                local.name.clone(),
                host.clone(),
                address.clone(),
                host.clone(),
            ));
        }
        loop {
            if let Some(route) = self.turn(&mut work)? {
                if address.local.is_empty() {
                    self.step(|| Step::NotRewritten);
                    return Ok(route.with_address(address.clone()));
                }
                return Ok(route);
            }
        }
    }

    /// Handles the first host of `work`; `None` when there is another one to handle. `work` is the address as it came
    /// until something of it changes.
    fn turn(&mut self, work: &mut Cow<'_, Address>) -> Result<Option<Route>, Rejected> {
        if place::first_host(work, self.bang_over_percent).is_none() {
            self.complete(work.to_mut());
        }
        let Some(first) = place::first_host(work, self.bang_over_percent) else {
            return Err(self.reject());
        };
        self.step(|| Step::FirstHost {
            address: work.to_string(),
            host: first.host.to_owned(),
            position: first.position,
            user: first.user.to_owned(),
        });
        let position = first.position;
        let has_more = place::has_more(work, first);
        let mut built = self.scan(first);
        if built.is_none() {
            self.step(|| Step::AsIs { host: first.host.to_owned() });
        }
        let mut special_tried = false;
        loop {
            let mut number = None;
            let as_is = || (first.user.to_owned(), first.host.to_owned(), None, first.host.to_owned());
            let (user, host, via, system) = match built.take() {
                None => as_is(),
                Some(rule) => {
                    let Built { target, tag, error } = rule;
                    self.apply(tag, error);
                    match target {
                        Target::AsIs => as_is(),
                        Target::Again { user, host } => {
                            place::put(work, position, user, host);
                            return self.again(work);
                        }
                        Target::Routed { user, host, via, system } => (user, host, via, system),
                        Target::Direct { made: Made { user, host, system }, channel } => {
                            number = Some(channel as usize);
                            (user, host, None, system)
                        }
                    }
                }
            };
            let rewriter = self.rewriter;
            let channels = &rewriter.config.channels;
            let number = number.or_else(|| channels.number_by_host(&system));
            let found = number.and_then(|number| Some((number, rewriter.destinations.get(number)?)));
            let Some((number, destination)) = found else {
                self.step(|| Step::NoChannel { routing_system: system });
                let in_local_part = matches!(position, Position::Percent | Position::Bang);
                if !in_local_part || special_tried {
                    return Err(self.reject());
                }
                special_tried = true;
                built = self.special(first);
                if built.is_none() {
                    return Ok(Some(self.mailbox(work.to_mut())));
                }
                continue;
            };
            let channel = || rewriter.destinations.name(destination).to_owned();
            self.step(|| Step::ChannelFound { routing_system: system.clone(), channel: channel() });
            if has_more && destination.takes_off {
                let host = first.host.to_owned();
                place::remove(work.to_mut(), position, self.bang_over_percent);
                self.step(|| Step::HostRemoved { host, channel: channel(), address: work.to_string() });
                return Ok(None);
            }
            place::put(work, position, user, host);
            let work = work.to_mut();
            if let Some(via) = via {
                work.route.insert(0, via);
            }
            return Ok(Some(self.finish(work, number, destination, system)));
        }
    }

    fn is_local(&self, channel: &Channel) -> bool {
        std::ptr::eq(channel, self.rewriter.config.channels.local())
    }

    /// A bare name gets the default host of its source channel, or the name of this system.
    fn complete(&mut self, work: &mut Address) {
        let default = self.surroundings.source.and_then(|channel| channel.settings.default_host.as_ref());
        let default = default.and_then(|(first, second)| match self.surroundings.kind {
            // The second host of `defaulthost` is for RCPT TO; without one, recipients are local.
            Kind::EnvelopeTo => second.as_ref(),
            _ => Some(first),
        });
        let host = default.unwrap_or(&self.rewriter.config.channels.local().official_host);
        work.host = Some(host.clone());
        self.step(|| Step::Completed { address: work.to_string(), default_host: default.is_some() });
    }

    /// Tag and error text of a rule that applies stay with the address.
    fn apply(&mut self, tag: Option<Cow<'r, str>>, error: Option<ErrorText<'r>>) {
        if let Some(tag) = tag {
            self.step(|| Step::Tagged(tag.clone().into_owned()));
            self.tag = tag;
        }
        if let Some(error) = error {
            self.error = Some(error);
        }
    }

    fn again(&mut self, work: &Address) -> Result<Option<Route>, Rejected> {
        self.repeats += 1;
        if self.repeats > REPEATS_MAX {
            return Err(Rejected::new(LOOP_TEXT, Status::new(5, 4, 6)));
        }
        let repeats = self.repeats;
        self.step(|| Step::Again { address: work.to_string(), repeats });
        Ok(None)
    }

    fn reject(&self) -> Rejected {
        let written = self.rewriter.config.options.unknown_host_text.as_deref();
        let unknown_host = written.unwrap_or(DEFAULT_ERROR_TEXT);
        match &self.error {
            Some(error) if !error.text.is_empty() => Rejected::new(&*error.text, error.status()),
            Some(error) => Rejected::new(unknown_host, error.status()),
            None => Rejected::new(unknown_host, Status::NO_SUCH_HOST),
        }
    }

    /// Asks the table for the host, most specific pattern first; the first rule that applies.
    fn scan(&mut self, first: First<'_>) -> Option<Built<'r>> {
        let lower = table::lower(first.host);
        // With a trace every probe is shown, also those that cannot find anything.
        let reach = if self.trace.is_some() { Reach::ALL } else { self.rewriter.reach };
        let (tag, mut buffer) = (self.tag.clone(), std::mem::take(&mut self.buffer));
        let ask = |key: &str, matched| self.ask(key, Subject { first, matched });
        let found = probe::probe(first.host, &lower, &tag, reach, &mut buffer, ask);
        self.buffer = buffer;
        found
    }

    /// The rules `$%` and `$!`, for hosts in the local part that failed in every other way.
    fn special(&mut self, first: First<'_>) -> Option<Built<'r>> {
        let pattern = if first.position == Position::Percent { "$%" } else { "$!" };
        let key = format!("{}{pattern}", self.tag);
        self.ask(&key, Subject { first, matched: Matched::open(first.host) })
    }

    /// Tries the rules of one pattern in the order of the file.
    fn ask(&mut self, key: &str, subject: Subject<'_>) -> Option<Built<'r>> {
        let rewriter = self.rewriter;
        let rules = rewriter.table.rules(key);
        self.step(|| Step::Probe { pattern: key.to_owned(), rules: rules.len() });
        for entry in rules {
            let rule = entry.rule as usize;
            // It cannot say why it fails, which a trace has to know.
            if let (Some(direct), None) = (&entry.direct, &self.trace) {
                if let Some(made) = direct.run(rewriter.table.texts(), subject, self.surroundings.kind) {
                    let target = Target::Direct { made, channel: direct.channel };
                    return Some(Built { target, tag: None, error: None });
                }
                continue;
            }
            match evaluate::run(&rewriter.programs[rule], subject, self.surroundings).map(built) {
                Ok(built) => {
                    self.step(|| Step::RuleApplied {
                        rule: rewriter.rule_text(rule),
                        result: built.target.words(),
                    });
                    return Some(built);
                }
                Err(why) => self.step(|| Step::RuleFailed { rule: rewriter.rule_text(rule), why }),
            }
        }
        if rewriter.has_domain_database && !key.contains('*') {
            return self.ask_domain_database(key, subject);
        }
        None
    }

    /// The rule that the domain database has for a pattern: asked behind those of the configuration, and never for a
    /// pattern with an asterisk (PMDF System Manager's Guide, chapter 2, "the domain database").
    fn ask_domain_database(&mut self, key: &str, subject: Subject<'_>) -> Option<Built<'r>> {
        let lookups = self.surroundings.lookups;
        let in_letters = || lookups.database(DOMAIN_DATABASE, &u_labels(key)?);
        let text = lookups.database(DOMAIN_DATABASE, key).or_else(in_letters)?;
        let program = Program::new(template::parse(&text, self.surroundings.is_channel));
        let result = evaluate::run(&program, subject, self.surroundings).map(built);
        let rule = || RuleText { pattern: key.to_owned(), template: text.clone(), span: None };
        match result {
            Ok(Built { target, tag, error }) => {
                self.step(|| Step::RuleApplied { rule: rule(), result: target.words() });
                let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
                let tag = tag.map(own);
                let error = error.map(|error| ErrorText { text: own(error.text), number: error.number });
                Some(Built { target, tag, error })
            }
            Err(why) => {
                self.step(|| Step::RuleFailed { rule: rule(), why });
                None
            }
        }
    }
}

fn built<'p>(output: Output<'_, 'p>) -> Built<'p> {
    let Output { shape, tag, error } = output;
    let target = match shape {
        Shape::AsIs => Target::AsIs,
        Shape::Again { user, host } => Target::Again { user: user.into_owned(), host: host.into_owned() },
        Shape::Routed { user, host, via, system } => Target::Routed {
            user: user.into_owned(),
            host: host.into_owned(),
            via: via.map(|via| via.into_owned()),
            system: system.into_owned(),
        },
    };
    Built { target, tag, error }
}

impl Target {
    fn words(&self) -> String {
        match self {
            Target::Again { user, host } => format!("{user}@{host}, to be rewritten again"),
            Target::Routed { user, host, via: Some(via), system } => {
                format!("@{via}:{user}@{host}, routing system {system}")
            }
            Target::Routed { user, host, via: None, system } => {
                format!("{user}@{host}, routing system {system}")
            }
            Target::Direct { made: Made { user, host, system }, .. } => {
                format!("{user}@{host}, routing system {system}")
            }
            Target::AsIs => "the address stays as it is".to_owned(),
        }
    }
}
