//! Reading `sites.cnf`, and what can be wrong in it.

use super::activators::{Activator, ActivatorLogin, Method, Password, Tls};
use super::one_value::{LENGTH_HELP, length};
use super::options::{self, SITE_FILE, SiteOption, SiteSection};
use super::words;
use super::{Counts, Covers, Site, SiteDomain, Sites, Tier};
use crate::codes;
use crate::lines::{Reader, Text, place};
use crate::model::Service;
use crate::option_file::{self, Form, Section, Setting};
use crate::timetable::{Mistake, Timetable, Windows, Zone};
use crate::{public_suffix::is_public_suffix, values};
use sluice_diag::{Code, Diagnostic, Span, nearest};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Characters in the name of a section, and in a queue name.
const NAME_LENGTH_MAX: usize = 63;
/// Octets in a login, as the password file has them.
const LOGIN_LENGTH_MAX: usize = 320;
/// Sections in the file.
const SECTIONS_MAX: usize = 1_000_000;
/// `WATCH` where it is not set.
const WATCH: Duration = Duration::from_secs(600);

/// What reading the file needs of the rest of the configuration.
pub(crate) struct Surroundings<'a> {
    /// The channels; empty when a part of the main file is missing.
    pub(crate) channels: &'a [String],
    /// The name of this system.
    pub(crate) local_host: &'a str,
    pub(crate) services: &'a [Service],
    pub(crate) zone: &'a Zone,
}

/// Reads the file.
pub(crate) fn read(text: &Text, around: &Surroundings<'_>, reader: &mut Reader<'_>) -> Sites {
    let form = Form {
        kinds: &["SITE", "ACTIVATOR"],
        check: &check,
        repeats: options::repeats,
        twice: (&codes::DUPLICATE_SITE, "rename one of the two, or make one section of them"),
    };
    let (_, sections) = option_file::read_form(text, &form, reader);
    let mut all = All {
        around,
        reader,
        queue_names: HashMap::new(),
        domains: HashMap::new(),
        channels: HashMap::new(),
        timetables: HashMap::new(),
        windows: HashMap::new(),
    };
    let (mut sites, mut activators) = (Vec::new(), Vec::new());
    if sections.len() > SECTIONS_MAX {
        let message = format!("{SITE_FILE} has {} sections, more than {SECTIONS_MAX}", sections.len());
        all.reader.push(Diagnostic::new(&codes::BAD_SITE_NAME, message).at(sections[SECTIONS_MAX].span));
    }
    for section in sections.into_iter().take(SECTIONS_MAX) {
        match section.kind.as_str() {
            "SITE" => sites.push(all.site(&section)),
            _ => activators.extend(all.activator(&section)),
        }
    }
    all.check_listeners(&activators);
    all.check_turned(&sites);
    sites.shrink_to_fit();
    Sites::new(sites, activators)
}

/// What can be said of a line alone.
fn check(kind: &str, setting: &Setting, reader: &mut Reader<'_>) {
    let Some(section) = SiteSection::ALL.into_iter().find(|section| section.as_str() == kind) else {
        let message = format!("`{}` stands in front of the first section", setting.name);
        let remark = Diagnostic::new(&codes::SITE_OPTION_ASTRAY, message).at(setting.span);
        reader.push(remark.help("write it below `[SITE=name]` or `[ACTIVATOR=name]`"));
        return;
    };
    if options::find(section, &setting.name).is_some() {
        return;
    }
    let elsewhere = SiteSection::ALL.into_iter().find(|other| options::find(*other, &setting.name).is_some());
    if let Some(other) = elsewhere {
        let message = format!("`{}` is no option of a section `[{kind}=…]`", setting.name);
        let remark = Diagnostic::new(&codes::SITE_OPTION_ASTRAY, message).at(setting.span);
        reader.push(remark.help(format!("it belongs into `[{}=…]`", other.as_str())));
        return;
    }
    let message = format!("`{}` is not an option", setting.name);
    let remark = Diagnostic::new(&codes::UNKNOWN_OPTION, message).at(setting.span);
    let names = options::site_options().iter().filter(|option| option.section == section);
    reader.push(match nearest(&setting.name, names.map(|option: &SiteOption| option.name)) {
        Some(near) => remark.help(format!("did you mean `{near}`?")),
        None => remark.help("it is ignored; the reference lists the options of each section"),
    });
}

/// The sections read so far, and what they must not say again.
pub(super) struct All<'a, 'r> {
    pub(super) around: &'a Surroundings<'a>,
    reader: &'a mut Reader<'r>,
    queue_names: HashMap<String, (Box<str>, Span)>,
    domains: HashMap<Box<str>, (Box<str>, Span)>,
    /// Texts that many sites share.
    channels: HashMap<Box<str>, Arc<str>>,
    timetables: HashMap<Box<str>, Arc<Timetable>>,
    windows: HashMap<Box<str>, Arc<Windows>>,
}

impl All<'_, '_> {
    pub(super) fn say(
        &mut self,
        code: &'static Code,
        message: impl Into<String>,
        at: Span,
        help: impl Into<String>,
    ) {
        self.reader.push(Diagnostic::new(code, message.into()).at(at).help(help.into()));
    }

    fn site(&mut self, section: &Section) -> Site {
        self.check_name(section);
        let get = |name: &str| section.settings.get(name).filter(|setting| !setting.value.is_empty());
        let domains = self.domains(section);
        let channel = get("CHANNEL").map(|setting| self.channel(setting));
        if domains.is_empty() && channel.is_none() && section.settings.get("DOMAINS").is_none() {
            let message = format!("the site `{}` has no domains", section.name);
            self.say(
                &codes::SITE_WITHOUT_DOMAINS,
                message,
                section.span,
                "write `DOMAINS=` into its section",
            );
        }
        let queue_name = get("QUEUE_NAME").and_then(|setting| self.queue_name(setting, section));
        let logins = self.logins(section);
        let target = get("TARGET").and_then(|setting| self.host(setting));
        let port = get("PORT").and_then(|setting| self.port(setting));
        let tier = self.tier(section, !logins.is_empty());
        let (lifetime, notices) = self.ages(section);
        let windows = self.windows(section);
        let schedule = self.schedule(section);
        let max_size = get("MAX_SIZE_IN_WINDOW").and_then(|setting| {
            let size = values::size(&setting.value).filter(|size| *size > 0);
            if size.is_none() {
                self.bad_value(setting, "bytes", "write bytes; `100K` is short for 100 × 1024");
            }
            size
        });
        if let Some(setting) = get("MAX_SIZE_IN_WINDOW")
            && section.settings.get("WINDOW").is_none()
        {
            let message = format!("the site `{}` has `MAX_SIZE_IN_WINDOW` and no window", section.name);
            let help = "larger messages would wait for ever: write a `WINDOW`, or take the line out";
            self.say(&codes::SITE_OPTIONS_DISAGREE, message, setting.span, help);
        }
        let counts = [
            ("yes", Counts::Yes),
            ("some", Counts::Some),
            ("no", Counts::No),
            ("1", Counts::Yes),
            ("0", Counts::No),
        ];
        let counts = self.choice(section, "COUNTS", &counts);
        let covers = self.choice(section, "COVERS", &[("name", Covers::Name), ("site", Covers::Site)]);
        Site {
            name: section.name.as_str().into(),
            domains: domains.into(),
            queue_name,
            channel,
            logins: logins.into(),
            tier,
            target,
            port,
            lifetime,
            notices,
            windows,
            schedule,
            max_size_in_window: max_size,
            counts: counts.unwrap_or_default(),
            covers: covers.unwrap_or_default(),
            on_link_up: self.switch(section, "ON_LINK_UP").unwrap_or(false),
            span: section.span,
        }
    }

    fn activator(&mut self, section: &Section) -> Option<Activator> {
        self.check_name(section);
        let get = |name: &str| section.settings.get(name).filter(|setting| !setting.value.is_empty());
        let method = [("etrn", Method::Etrn), ("atrn", Method::Atrn)];
        let method = self.choice(section, "METHOD", &method).unwrap_or_default();
        let tls = [("no", Tls::No), ("may", Tls::May), ("must", Tls::Must), ("implicit", Tls::Implicit)];
        let tls = self.choice(section, "TLS", &tls).unwrap_or_default();
        let usual = match (method, tls) {
            (Method::Atrn, _) => 366,
            (Method::Etrn, Tls::Implicit) => 465,
            (Method::Etrn, _) => 25,
        };
        let port = get("PORT").and_then(|setting| self.port(setting)).unwrap_or(usual);
        let names = self.names(section, method);
        let login = self.login(section);
        if method == Method::Atrn && login.is_none() && get("LOGIN").is_none() {
            let message = format!("the activator `{}` asks by ATRN and has no login", section.name);
            let at = get("METHOD").map_or(section.span, |setting| setting.span);
            let help = "ATRN needs a login: write `LOGIN` and `PASSWORD_FILE`";
            self.say(&codes::SITE_OPTIONS_DISAGREE, message, at, help);
        }
        let channel = get("CHANNEL").map(|setting| self.channel(setting));
        if let (Some(setting), Method::Etrn) = (get("CHANNEL"), method) {
            let message = format!("the activator `{}` has a channel and asks by ETRN", section.name);
            let help = "the server connects to a listener, which has a channel: write `METHOD=atrn`, or take the line out";
            self.say(&codes::SITE_OPTIONS_DISAGREE, message, setting.span, help);
        }
        let schedule = self.schedule(section);
        let windows = self.windows(section);
        if let (Some(setting), None) = (get("WINDOW"), get("SCHEDULE")) {
            let message = format!("the activator `{}` has a window and no schedule", section.name);
            let help = "a window says when the schedule counts: write a `SCHEDULE`, or take the line out";
            self.say(&codes::SITE_OPTIONS_DISAGREE, message, setting.span, help);
        }
        let watch = get("WATCH").and_then(|setting| self.length(setting)).unwrap_or(WATCH);
        let on_link_up = self.switch(section, "ON_LINK_UP").unwrap_or(false);
        let Some(server) = get("SERVER") else {
            let message = format!("the activator `{}` has no server", section.name);
            self.say(
                &codes::ACTIVATOR_WITHOUT_SERVER,
                message,
                section.span,
                "write `SERVER=` into its section",
            );
            return None;
        };
        let host = self.host(server)?;
        if self.is_ourselves(&host, port) {
            let message = format!("the server of the activator `{}` is this hub itself", section.name);
            let help = "name the server that keeps mail for us; `sluice trigger` releases what waits here";
            self.say(&codes::ACTIVATOR_OF_OURSELVES, message, server.value_span, help);
        }
        Some(Activator {
            name: section.name.as_str().into(),
            server: host,
            port,
            names: names.into(),
            login,
            tls,
            method,
            channel,
            schedule,
            windows,
            on_link_up,
            watch,
            span: section.span,
        })
    }

    fn check_name(&mut self, section: &Section) {
        if !is_name(&section.name) {
            let message = format!("`{}` cannot be the name of a section", section.name);
            let help = format!("use up to {NAME_LENGTH_MAX} letters, digits, `.`, `-` and `_`");
            self.say(&codes::BAD_SITE_NAME, message, section.span, help);
        }
    }

    fn domains(&mut self, section: &Section) -> Vec<SiteDomain> {
        let mut domains: Vec<SiteDomain> = Vec::new();
        for (word, at) in self.list(section, "DOMAINS") {
            let (with_below, name) = word.strip_prefix('@').map_or((false, word), |name| (true, name));
            let Some(domain) = words::domain(name) else {
                let help = "write domains such as `example.com`, or `@example.com` for all below it too";
                self.say(&codes::BAD_SITE_DOMAIN, format!("`{word}` is no domain"), at, help);
                continue;
            };
            if is_public_suffix(&domain) && !domain.starts_with('[') {
                let message = format!("`{domain}` is a public suffix: names below it belong to many");
                let help = "name the domains that are the site's own";
                let remark = Diagnostic::new(&codes::SITE_DOMAIN_IS_PUBLIC, message).at(at).help(help);
                let only_itself = sluice_diag::Severity::Warning;
                self.reader.push(if with_below { remark } else { remark.severity(only_itself) });
            }
            let mine: Box<str> = section.name.as_str().into();
            match self.domains.get(&*domain) {
                None => {
                    self.domains.insert(domain.clone(), (mine, at));
                    domains.push(SiteDomain { domain, with_below });
                }
                Some((other, first)) => {
                    let message = if *other == mine {
                        format!("the domain `{domain}` is named twice by the site `{mine}`")
                    } else {
                        format!("the domain `{domain}` of the site `{mine}` belongs to the site `{other}`")
                    };
                    let remark = Diagnostic::new(&codes::DUPLICATE_SITE_DOMAIN, message).at(at);
                    let remark = remark.note(*first, "it is named here first");
                    self.reader.push(remark.help("a domain belongs to one site: take one of the two out"));
                }
            }
        }
        domains
    }

    fn channel(&mut self, setting: &Setting) -> Arc<str> {
        let channels = self.around.channels;
        let known = channels.iter().find(|channel| channel.eq_ignore_ascii_case(&setting.value));
        if known.is_none() && !channels.is_empty() {
            let message = format!("the channel `{}` is not defined", setting.value);
            let help = match nearest(&setting.value, channels.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name a channel of the main file".to_owned(),
            };
            self.say(&codes::SITE_UNKNOWN_CHANNEL, message, setting.value_span, help);
        }
        let name = known.map_or(setting.value.as_str(), String::as_str);
        Arc::clone(self.channels.entry(name.into()).or_insert_with(|| name.into()))
    }

    fn queue_name(&mut self, setting: &Setting, section: &Section) -> Option<Box<str>> {
        let name = setting.value.strip_prefix('#').unwrap_or(&setting.value);
        if !is_name(name) {
            let help = format!("use up to {NAME_LENGTH_MAX} letters, digits, `.`, `-` and `_`");
            let message = format!("`{}` cannot be the name of a queue", setting.value);
            self.say(&codes::BAD_QUEUE_NAME, message, setting.value_span, help);
            return None;
        }
        if let Some((other, first)) = self.queue_names.get(&name.to_ascii_lowercase()) {
            let message = format!(
                "the queue name `{name}` of the site `{}` is that of the site `{other}`",
                section.name
            );
            let remark = Diagnostic::new(&codes::DUPLICATE_QUEUE_NAME, message).at(setting.value_span);
            let remark = remark.note(*first, "the first is here");
            self.reader.push(remark.help("a queue name belongs to one site: change one of the two"));
            return None;
        }
        let channel = section.settings.get("CHANNEL").map_or("", |setting| &setting.value);
        if !channel.eq_ignore_ascii_case(name)
            && self.around.channels.iter().any(|other| other.eq_ignore_ascii_case(name))
        {
            let message =
                format!("the queue name `{name}` hides the channel of that name from `ETRN #{name}`");
            self.say(&codes::QUEUE_NAME_OF_CHANNEL, message, setting.value_span, "choose another name");
        }
        self.queue_names
            .insert(name.to_ascii_lowercase(), (section.name.as_str().into(), setting.value_span));
        Some(name.into())
    }

    fn logins(&mut self, section: &Section) -> Vec<Box<str>> {
        let mut logins: Vec<Box<str>> = Vec::new();
        for (word, at) in self.list(section, "LOGIN") {
            if word.len() > LOGIN_LENGTH_MAX || word.starts_with('#') {
                let help = format!("a login is one word of at most {LOGIN_LENGTH_MAX} octets");
                self.say(&codes::BAD_OPTION_VALUE, format!("`{word}` cannot be a login"), at, help);
            } else if !logins.iter().any(|other| **other == *word) {
                logins.push(word.into());
            }
        }
        logins
    }

    fn tier(&mut self, section: &Section, has_login: bool) -> Tier {
        let get = |name: &str| section.settings.get(name).filter(|setting| !setting.value.is_empty());
        let tiers = Tier::ALL.map(|tier| (tier.as_str(), tier));
        let target = get("TARGET");
        let Some(tier) = self.choice(section, "TIER", &tiers) else {
            return if target.is_some() { Tier::Static } else { Tier::None };
        };
        let at = get("TIER").map_or(section.span, |setting| setting.value_span);
        let name = &section.name;
        match tier {
            Tier::Dynamic | Tier::Turned if !has_login && get("LOGIN").is_none() => {
                let message = format!("the site `{name}` is of tier `{}` and has no login", tier.as_str());
                let help = match tier {
                    Tier::Dynamic => "without a login its mail would go to whoever asks: write `LOGIN=`",
                    _ => "ATRN needs a login: write `LOGIN=`",
                };
                self.say(&codes::TIER_WITHOUT_LOGIN, message, at, help);
            }
            Tier::Static if target.is_none() => {
                let message = format!("the site `{name}` is of tier `static` and has no target");
                self.say(
                    &codes::TIER_WITHOUT_TARGET,
                    message,
                    at,
                    "write `TARGET=`, or `TIER=none` for the mail exchangers",
                );
            }
            _ => {}
        }
        let useless = match tier {
            Tier::None => target,
            Tier::Turned => target.or(get("PORT")),
            Tier::Static | Tier::Dynamic => None,
        };
        if let Some(setting) = useless {
            let message =
                format!("`{}` has no effect for the site `{name}` of tier `{}`", setting.name, tier.as_str());
            let help = match tier {
                Tier::None => "write `TIER=static`, or take the line out",
                _ => "its mail goes back over the connection of the request: take the line out",
            };
            self.say(&codes::SITE_OPTIONS_DISAGREE, message, setting.span, help);
        }
        tier
    }

    fn ages(&mut self, section: &Section) -> (Option<Duration>, Option<Box<[Duration]>>) {
        let get = |name: &str| section.settings.get(name).filter(|setting| !setting.value.is_empty());
        let lifetime = get("LIFETIME").and_then(|setting| self.length(setting));
        let Some(setting) = get("NOTICES") else { return (lifetime, None) };
        let mut notices: Vec<Duration> = Vec::new();
        for (word, at) in self.list(section, "NOTICES") {
            let Some(age) = length(word) else {
                let message = format!("`{word}` is no length of time");
                self.say(&codes::BAD_OPTION_VALUE, message, at, LENGTH_HELP);
                return (lifetime, None);
            };
            if notices.last().is_some_and(|before| *before >= age) {
                let message = format!("`{word}` is not later than the notice in front of it");
                self.say(&codes::BAD_OPTION_VALUE, message, at, "write the ages in growing order");
                return (lifetime, None);
            }
            if lifetime.is_some_and(|lifetime| age >= lifetime) {
                let message = format!("the notice at `{word}` is never sent: mail is returned before");
                self.say(
                    &codes::SITE_OPTIONS_DISAGREE,
                    message,
                    at,
                    "make `LIFETIME` longer, or take the age out",
                );
            }
            notices.push(age);
        }
        if notices.is_empty() {
            self.bad_value(setting, "lengths of time", LENGTH_HELP);
            return (lifetime, None);
        }
        (lifetime, Some(notices.into()))
    }

    fn windows(&mut self, section: &Section) -> Option<Arc<Windows>> {
        let (text, lines) = joined(section, "WINDOW", ", ")?;
        if let Some(known) = self.windows.get(&*text) {
            return Some(Arc::clone(known));
        }
        match Windows::read(&text, self.around.zone) {
            Ok(windows) => {
                let windows = Arc::new(windows);
                self.windows.insert(text.into(), Arc::clone(&windows));
                Some(windows)
            }
            Err(mistake) => {
                self.mistake(&mistake, &lines, [&codes::BAD_WINDOW, &codes::WINDOW_NEVER_OPENS]);
                None
            }
        }
    }

    fn schedule(&mut self, section: &Section) -> Option<Arc<Timetable>> {
        let (text, lines) = joined(section, "SCHEDULE", "; ")?;
        if let Some(known) = self.timetables.get(&*text) {
            return Some(Arc::clone(known));
        }
        match Timetable::read(&text, self.around.zone, &section.name) {
            Ok(timetable) => {
                let timetable = Arc::new(timetable);
                if !timetable.has_interval() {
                    self.timetables.insert(text.into(), Arc::clone(&timetable));
                }
                Some(timetable)
            }
            Err(mistake) => {
                self.mistake(&mistake, &lines, [&codes::BAD_SCHEDULE, &codes::SCHEDULE_NEVER_RUNS]);
                None
            }
        }
    }

    /// Says what is wrong with times that stand in one or more lines.
    fn mistake(&mut self, mistake: &Mistake, lines: &[(usize, Span)], codes: [&'static Code; 2]) {
        let whole = lines.first().map(|(_, span)| *span);
        let Some(whole) = whole else { return };
        let at = place(lines, whole, mistake.range.start, mistake.range.end);
        let code = codes[usize::from(mistake.never)];
        self.say(code, mistake.what.clone(), at, mistake.help.clone());
    }

    fn names(&mut self, section: &Section, method: Method) -> Vec<Box<str>> {
        let mut names: Vec<Box<str>> = Vec::new();
        for (word, at) in self.list(section, "NAMES") {
            let fine = match (word.chars().next(), method) {
                (Some('#'), Method::Etrn) => is_name(&word[1..]),
                (Some('@'), Method::Etrn) => words::domain(&word[1..]).is_some(),
                _ => words::domain(word).is_some(),
            };
            if !fine {
                let help = match method {
                    Method::Etrn => "write domains, `@domain` for all below too, or `#queue`",
                    Method::Atrn => "ATRN takes domains only",
                };
                self.say(&codes::BAD_ACTIVATOR_NAME, format!("`{word}` cannot be asked for"), at, help);
            } else if !names.iter().any(|other| other.eq_ignore_ascii_case(word)) {
                names.push(word.into());
            }
        }
        names
    }

    fn login(&mut self, section: &Section) -> Option<ActivatorLogin> {
        let get = |name: &str| section.settings.get(name).filter(|setting| !setting.value.is_empty());
        let (password, file) = (get("PASSWORD"), get("PASSWORD_FILE"));
        let name = &section.name;
        if let (Some(_), Some(second)) = (password, file) {
            let message = format!("the activator `{name}` has two passwords");
            let help = "keep `PASSWORD_FILE` and take `PASSWORD` out";
            self.say(&codes::SITE_OPTIONS_DISAGREE, message, second.span, help);
        }
        let password = match (file, password) {
            (Some(file), _) => section
                .settings
                .path("PASSWORD_FILE", self.reader.folder)
                .map(|(path, _)| Password::InFile { path, span: file.value_span }),
            (None, Some(setting)) => {
                Some(Password::Written { text: setting.value.as_str().into(), span: setting.value_span })
            }
            (None, None) => None,
        };
        match (get("LOGIN"), password) {
            (Some(login), Some(password)) => {
                Some(ActivatorLogin { name: login.value.as_str().into(), password })
            }
            (Some(login), None) => {
                let message = format!("the activator `{name}` has a login and no password");
                self.say(&codes::SITE_OPTIONS_DISAGREE, message, login.span, "write `PASSWORD_FILE`");
                None
            }
            (None, Some(_)) => {
                let at = file.or(get("PASSWORD")).map_or(section.span, |setting| setting.span);
                let message = format!("the activator `{name}` has a password and no login");
                self.say(&codes::SITE_OPTIONS_DISAGREE, message, at, "write `LOGIN`");
                None
            }
            (None, None) => None,
        }
    }
}

/// The lines of a name as one text, and where each begins in it.
fn joined(section: &Section, name: &str, between: &str) -> Option<(String, Vec<(usize, Span)>)> {
    let (mut text, mut lines) = (String::new(), Vec::new());
    for setting in section.settings.0.iter().filter(|setting| setting.name == name) {
        if !lines.is_empty() {
            text.push_str(between);
        }
        lines.push((text.len(), setting.value_span));
        text.push_str(&setting.value);
    }
    (!lines.is_empty()).then_some((text, lines))
}

/// Whether a text can be the name of a site or a queue.
fn is_name(text: &str) -> bool {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= NAME_LENGTH_MAX && text.bytes().all(fits)
}
