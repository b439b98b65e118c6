//! Sites and activators: what `sites.cnf` means.
//!
//! A [`Site`] binds what belongs together when mail waits for somebody who comes and asks for it: domains, the name of
//! its queue, the login that owns it, and where its mail may go. A channel works without any site; ETRN for names that
//! belong to none follows the channel alone. An [`Activator`] is the other side: a server that keeps mail for us, and when
//! we ask it.
//!
//! # Invariants
//! A domain, a queue name and a site's name stand in [`Sites`] once. Names are found without regard to case, domains
//! also without regard to a final dot and to whether they are written in Unicode or as A-labels.
//! # Not here
//! Who may ask and what is answered (`smtpd`), the release itself (`dispatch`), and whether a file with a password is open
//! to others (the binary, which has the disk).

mod activators;
mod one_value;
mod options;
mod reach;
mod reading;
mod words;

pub use activators::{Activator, ActivatorLogin, Method, Password, Tls};
pub use options::{SITE_FILE, SiteOption, SiteSection, site_options};
pub(crate) use reading::{Surroundings, read};

use crate::timetable::{Timetable, Windows};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use sluice_diag::Span;
use sluice_mail::ReversedDomain;
use std::borrow::Cow;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

/// How far a site is trusted, which is where its mail may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tier {
    /// To the hosts that the name service names for the domain, and nowhere else.
    #[default]
    None,
    /// To the configured target, whoever asks.
    Static,
    /// Also to the address that the request came from, when the login was safe.
    Dynamic,
    /// Back over the connection of the request (ATRN).
    Turned,
}

impl Tier {
    /// Every tier, in the order of the protocol's page.
    pub const ALL: [Tier; 4] = [Tier::None, Tier::Static, Tier::Dynamic, Tier::Turned];

    /// As the file has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::None => "none",
            Tier::Static => "static",
            Tier::Dynamic => "dynamic",
            Tier::Turned => "turned",
        }
    }
}

/// What a request for one name of a site releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Covers {
    /// What was named.
    #[default]
    Name,
    /// All that waits for the site: for clients that stop at the first name without mail, as fetchmail does.
    Site,
}

impl Covers {
    /// As the file has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Covers::Name => "name",
            Covers::Site => "site",
        }
    }
}

/// What a site is told of how much waits, as the answer to ETRN (RFC 1985 section 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counts {
    /// Nothing: 250 in any case.
    No,
    /// Whether something waits: 251 or 252.
    Some,
    /// How many messages: 251 or 253.
    #[default]
    Yes,
}

impl Counts {
    /// As the file has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Counts::No => "no",
            Counts::Some => "some",
            Counts::Yes => "yes",
        }
    }
}

/// A domain of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteDomain {
    /// Lower case, A-labels, no final dot.
    pub domain: Box<str>,
    /// Written `@domain`: everything below it belongs to the site too.
    pub with_below: bool,
}

/// A section `[SITE=name]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Its name, as written.
    pub name: Box<str>,
    /// `DOMAINS`.
    pub domains: Box<[SiteDomain]>,
    /// `QUEUE_NAME`: what may stand behind `ETRN #`, and behind `ETRN` when it looks like a domain.
    pub queue_name: Option<Box<str>>,
    /// `CHANNEL`: where its mail waits. `None`: wherever the rewrite rules send its domains.
    pub channel: Option<Arc<str>>,
    /// `LOGIN`: who may ask. Empty: anybody whom the channel lets ask.
    pub logins: Box<[Box<str>]>,
    /// `TIER`.
    pub tier: Tier,
    /// `TARGET`: a host name, or an address in brackets.
    pub target: Option<Box<str>>,
    /// `PORT` of the target.
    pub port: Option<u16>,
    /// `LIFETIME`: how long its mail may wait. `None`: as the channel says.
    pub lifetime: Option<Duration>,
    /// `NOTICES`: ages at which senders are told that their mail still waits. `None`: as the channel says.
    pub notices: Option<Box<[Duration]>>,
    /// `WINDOW`: when its mail may be tried without being asked for. `None`: at any time.
    pub windows: Option<Arc<Windows>>,
    /// `SCHEDULE`: when it is released without being asked for.
    pub schedule: Option<Arc<Timetable>>,
    /// `MAX_SIZE_IN_WINDOW`, in bytes: larger messages wait for an open window, whoever asks.
    pub max_size_in_window: Option<u64>,
    /// `COUNTS`: what it is told of how much waits.
    pub counts: Counts,
    /// `COVERS`.
    pub covers: Covers,
    /// `ON_LINK_UP`: `sluice trigger --on-link-up` releases it.
    pub on_link_up: bool,
    /// Where its name stands.
    pub span: Span,
}

impl Site {
    /// Whether the domain belongs to it, by itself or below one of its own. The domain in any spelling.
    #[must_use]
    pub fn has_domain(&self, domain: &str) -> bool {
        let wanted = ReversedDomain::new(domain);
        self.domains.iter().any(|own| {
            let own_domain = ReversedDomain::new(&own.domain);
            wanted == own_domain || (own.with_below && wanted.is_within(&own_domain))
        })
    }

    /// Whether whoever has logged in so, or has not, may ask for its mail. Without a `LOGIN` everybody may whom the channel
    /// lets ask.
    #[must_use]
    pub fn is_open_to(&self, login: Option<&str>) -> bool {
        self.logins.is_empty() || login.is_some_and(|login| self.has_login(login))
    }

    /// Whether the login owns it. Logins are compared as they are written.
    #[must_use]
    pub fn has_login(&self, login: &str) -> bool {
        self.logins.iter().any(|own| **own == *login)
    }
}

/// The sites and activators of a configuration.
///
/// The tables of names hold numbers and no copies, so that a hundred thousand sites cost what their own texts do.
#[derive(Debug, Clone, Default)]
pub struct Sites {
    list: Vec<Site>,
    activators: Vec<Activator>,
    hasher: RandomState,
    by_name: HashTable<u32>,
    by_queue_name: HashTable<u32>,
    /// Numbers of a site and of its domain.
    by_domain: HashTable<(u32, u32)>,
    /// Numbers of a site and of its login; a login may own several.
    by_login: HashTable<(u32, u32)>,
    /// Sites with a target, found by it; several may have one.
    by_target: HashTable<u32>,
    /// Sites without domains, found by their channel: all that waits there is theirs.
    by_channel: HashTable<u32>,
}

impl PartialEq for Sites {
    fn eq(&self, other: &Sites) -> bool {
        self.list == other.list && self.activators == other.activators
    }
}

impl Sites {
    /// Takes sites and activators in. Of a name, queue name or domain that is there twice the first counts.
    #[must_use]
    pub fn new(list: Vec<Site>, activators: Vec<Activator>) -> Sites {
        let mut sites = Sites { activators, ..Sites::default() };
        sites.by_name.reserve(list.len(), |_| 0);
        for site in list {
            sites.add(site);
        }
        sites
    }

    fn add(&mut self, site: Site) {
        let number = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        let Sites {
            list, hasher, by_name, by_queue_name, by_domain, by_login, by_target, by_channel, ..
        } = self;
        list.push(site);
        let hash = |text: &str| hasher.hash_one(text);
        let site_of = |number: u32| &list[number as usize];
        let site = site_of(number);
        let name = in_lower_case(&site.name);
        let rehash = |number: &u32| hash(&in_lower_case(&site_of(*number).name));
        by_name
            .entry(hash(&name), |other| site_of(*other).name.eq_ignore_ascii_case(&name), rehash)
            .or_insert(number);
        if let Some(name) = &site.queue_name {
            let queue_name = |number: &u32| site_of(*number).queue_name.as_deref().unwrap_or_default();
            let rehash = |number: &u32| hash(&in_lower_case(queue_name(number)));
            let same = |other: &u32| queue_name(other).eq_ignore_ascii_case(name);
            by_queue_name.entry(hash(&in_lower_case(name)), same, rehash).or_insert(number);
        }
        let domain_of = |(site, domain): &(u32, u32)| &*site_of(*site).domains[*domain as usize].domain;
        for (index, domain) in (0u32..).zip(&site.domains) {
            let same = |other: &(u32, u32)| domain_of(other) == &*domain.domain;
            by_domain
                .entry(hash(&domain.domain), same, |other| hash(domain_of(other)))
                .or_insert((number, index));
        }
        let login_of = |(site, login): &(u32, u32)| &*site_of(*site).logins[*login as usize];
        let target_of = |number: &u32| site_of(*number).target.as_deref().unwrap_or_default();
        if let Some(target) = &site.target {
            let rehash = |number: &u32| hash(&in_lower_case(target_of(number)));
            by_target.insert_unique(hash(&in_lower_case(target)), number, rehash);
        }
        let channel_of = |number: &u32| site_of(*number).channel.as_deref().unwrap_or_default();
        if let (Some(channel), true) = (&site.channel, site.domains.is_empty()) {
            let same = |other: &u32| channel_of(other) == &**channel;
            by_channel.entry(hash(channel), same, |number| hash(channel_of(number))).or_insert(number);
        }
        for (index, login) in (0u32..).zip(&site.logins) {
            by_login.insert_unique(hash(login), (number, index), |other| hash(login_of(other)));
        }
    }

    /// The site of that name, case aside.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Site> {
        let hash = self.hasher.hash_one(&*in_lower_case(name));
        let found = self.by_name.find(hash, |number| self.site(*number).name.eq_ignore_ascii_case(name))?;
        Some(self.site(*found))
    }

    /// The site of that queue name, case aside; the name without `#`.
    #[must_use]
    pub fn by_queue_name(&self, name: &str) -> Option<&Site> {
        let hash = self.hasher.hash_one(&*in_lower_case(name));
        let same = |number: &u32| {
            self.site(*number).queue_name.as_deref().is_some_and(|other| other.eq_ignore_ascii_case(name))
        };
        Some(self.site(*self.by_queue_name.find(hash, same)?))
    }

    /// The site that a domain belongs to, in any spelling: the one that names it, or else names the nearest domain above
    /// it with all below.
    #[must_use]
    pub fn by_domain(&self, domain: &str) -> Option<&Site> {
        if self.by_domain.is_empty() {
            return None;
        }
        let domain = canonical(domain);
        let mut rest = &*domain;
        loop {
            let exact = rest.len() == domain.len();
            if let Some((site, own)) = self.named(rest)
                && (exact || own.with_below)
            {
                return Some(site);
            }
            (_, rest) = rest.split_once('.')?;
        }
    }

    /// The site that names exactly this domain, lower case and as A-labels, and how it does.
    fn named(&self, domain: &str) -> Option<(&Site, &SiteDomain)> {
        let own = |(site, own): &(u32, u32)| &self.site(*site).domains[*own as usize];
        let found =
            self.by_domain.find(self.hasher.hash_one(domain), |other| &*own(other).domain == domain)?;
        Some((self.site(found.0), own(found)))
    }

    /// Whose mail it is that waits in a channel for a domain, lower case the one as the other.
    #[must_use]
    pub fn owner(&self, channel: &str, domain: &str) -> Option<&Site> {
        if self.list.is_empty() {
            return None;
        }
        let by_domain =
            self.by_domain(domain).filter(|site| site.channel.as_deref().is_none_or(|own| own == channel));
        by_domain.or_else(|| {
            let same = |number: &u32| self.site(*number).channel.as_deref() == Some(channel);
            Some(self.site(*self.by_channel.find(self.hasher.hash_one(channel), same)?))
        })
    }

    /// The sites whose mail goes to a host: a name, or an address in brackets. Case aside.
    pub fn by_target<'a, 't>(&'a self, target: &'t str) -> impl Iterator<Item = &'a Site> + use<'a, 't> {
        let found = self.by_target.iter_hash(self.hasher.hash_one(&*in_lower_case(target)));
        let same =
            move |site: &&Site| site.target.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(target));
        found.map(|number| self.site(*number)).filter(same)
    }

    /// Whether another site has a domain at or below this one: who asks for all below it would ask for that too.
    #[must_use]
    pub fn others_below(&self, domain: &str, site: Option<&Site>) -> bool {
        let above = ReversedDomain::new(domain);
        let others = self.list.iter().filter(|other| site.is_none_or(|site| site.name != other.name));
        others.flat_map(|other| &other.domains).any(|own| ReversedDomain::new(&own.domain).is_within(&above))
    }

    /// The sites that a login owns, as the login is written.
    pub fn by_login<'a>(&'a self, login: &'a str) -> impl Iterator<Item = &'a Site> {
        let found = self.by_login.iter_hash(self.hasher.hash_one(login));
        let own = move |(site, own): &&(u32, u32)| &*self.site(*site).logins[*own as usize] == login;
        found.filter(own).map(|(site, _)| self.site(*site))
    }

    fn site(&self, number: u32) -> &Site {
        &self.list[number as usize]
    }

    /// Every site, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Site> {
        self.list.iter()
    }

    /// How many sites there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Every activator, in the order of the file.
    #[must_use]
    pub fn activators(&self) -> &[Activator] {
        &self.activators
    }

    /// The activator of that name, case aside.
    #[must_use]
    pub fn activator(&self, name: &str) -> Option<&Activator> {
        self.activators.iter().find(|activator| activator.name.eq_ignore_ascii_case(name))
    }
}

impl<'a> IntoIterator for &'a Sites {
    type Item = &'a Site;
    type IntoIter = std::slice::Iter<'a, Site>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn in_lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|octet| octet.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// A domain in lower case, as A-labels, without its final dot.
fn canonical(domain: &str) -> Cow<'_, str> {
    let plain = domain.bytes().all(|octet| octet.is_ascii() && !octet.is_ascii_uppercase());
    if plain && !domain.ends_with('.') {
        Cow::Borrowed(domain)
    } else {
        Cow::Owned(ReversedDomain::new(domain).to_domain())
    }
}
