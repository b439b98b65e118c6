//! The `sluice` program: subcommands, wiring, logging and exit statuses.
//!
//! Everything with a name of its own in the field lives in a crate below; this one puts them together. It is the only
//! place (with `xtask`) where errors are `anyhow`: here they are told to a person and become an exit status, once.
#![forbid(unsafe_code)]

mod access;
mod activators;
mod arriving;
mod asking;
mod asks;
mod at_start;
mod cli;
mod commands;
mod consent;
mod control;
mod etrn;
mod exit;
mod filtering;
mod filters;
mod hub;
mod in_place;
mod inner_door;
mod intake;
mod keys;
mod last_calls;
mod links;
mod load;
mod log;
mod lookups;
mod mail_log;
mod mapped;
mod names;
mod notices;
mod output;
mod own_names;
mod own_releases;
mod plugins;
mod recipients;
mod releases;
mod report;
mod routines;
mod sendmail_cf;
mod set_aside;
mod site_arguments;
mod site_file;
mod site_keys;
mod terms;
mod topics;
mod turning;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use sluice_admin::protocol::Act;

use crate::cli::closing::Channel;
use crate::cli::queue::Queue;
use crate::cli::spool::Spool;
use crate::cli::{Activator, Cli, Command, Password, Plugin, Release, Site, Test};
use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    // The hub starts this program so for the plugin of a channel with `isolated`; nobody types it.
    if std::env::args_os().nth(1).is_some_and(|word| word == sluice_isolate::ARGUMENT) {
        sluice_isolate::run_child();
    }
    let typed = match links::command_line(std::env::args_os().collect()) {
        Ok(typed) => typed,
        Err(text) => {
            complain(&text);
            return Exit::Usage.into();
        }
    };
    if let Some(topic) = topics::asked_for(&typed) {
        return told(output::line(&topic.text()).map(|()| Exit::Ok).map_err(Failure::from));
    }
    let cli = match Cli::try_parse_from(typed) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for and go to standard output; anything else is a usage error.
            let asked_for = !error.use_stderr();
            let _ = error.print();
            return if asked_for { Exit::Ok } else { Exit::Usage }.into();
        }
    };
    told(carry_out(cli.command))
}

/// The exit status, with a word about what failed.
fn told(result: Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(failure) if is_broken_pipe(&failure) => Exit::Ok.into(),
        Err(failure) => {
            complain(&failure.to_string());
            failure.exit().into()
        }
    }
}

fn carry_out(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(run) => commands::run::run(&run),
        Command::Check(check) => commands::check::check(&check),
        Command::Explain(explain) => commands::explain::explain(&explain),
        Command::Test(Test::Rewrite(test)) => commands::test_rewrite::test_rewrite(&test),
        Command::Test(Test::Alias(test)) => commands::test_alias::test_alias(&test),
        Command::Test(Test::Expansion(test)) => commands::test_alias::test_expansion(&test),
        Command::Compile(compile) => commands::compile::compile(&compile),
        Command::Test(Test::Channel(test)) => commands::test_channel::test_channel(&test),
        Command::Test(Test::Mapping(test)) => commands::test_mapping::test_mapping(&test),
        Command::Test(Test::Match(test)) => commands::test_match::test_match(&test),
        Command::Trigger(trigger) => commands::remote::trigger(&trigger),
        Command::Etrn(etrn) => commands::etrn::etrn(&etrn),
        Command::Activator(Activator::Run(run)) => commands::activator::run(&run),
        Command::Activator(Activator::Status(status)) => commands::activator::status(&status.common),
        Command::Queue(Queue::List(list)) => commands::queue::list(&list),
        Command::Queue(Queue::Show(show)) => commands::queue::show(&show),
        Command::Queue(Queue::History(history)) => commands::history::history(&history),
        Command::Queue(Queue::Read(read)) => commands::queue::read(&read),
        Command::Queue(Queue::Hold(act)) => commands::queue::act(Act::Hold, &act),
        Command::Queue(Queue::Release(act)) => commands::queue::act(Act::Release, &act),
        Command::Queue(Queue::Return(act)) => commands::queue::act(Act::Return, &act),
        Command::Queue(Queue::Delete(act)) => commands::queue::act(Act::Delete, &act),
        Command::Queue(Queue::Retry(act)) => commands::queue::act(Act::Retry, &act),
        Command::Queue(Queue::Summarize(summarize)) => commands::remote::queue_summarize(&summarize.common),
        Command::Release(Release::List(list)) => {
            commands::release::list(&list.common, list.site.as_deref(), list.limit)
        }
        Command::Release(Release::Show(show)) => commands::release::show(&show.common, &show.id),
        Command::Release(Release::Follow(follow)) => {
            commands::release::follow(&follow.common, follow.id.as_deref())
        }
        Command::Spool(Spool::Verify(verify)) => commands::spool::verify(&verify.common),
        Command::Spool(Spool::Stat(stat)) => commands::spool::stat(&stat.common),
        Command::Spool(Spool::Dump(dump)) => commands::spool_dump::dump(&dump),
        Command::Spool(Spool::Recover(recover)) => commands::spool_recover::recover(&recover),
        Command::Spool(Spool::BringBack(asked)) => commands::spool_bring_back::bring_back(&asked),
        Command::Channel(Channel::List(list)) => commands::remote::channel_list(&list.common),
        Command::Channel(Channel::Stop(names)) => commands::closing::stop(&names),
        Command::Channel(Channel::Start(names)) => commands::closing::start(&names),
        Command::Suspend(suspend) => commands::closing::suspend(&suspend),
        Command::Resume(resume) => commands::closing::resume(&resume),
        Command::Plugin(Plugin::List(list)) => commands::plugin_list::plugin_list(&list.common),
        Command::Plugin(Plugin::New(new)) => commands::plugin_new::plugin_new(&new),
        Command::Plugin(Plugin::Show(show)) => commands::plugin_show::plugin_show(&show),
        Command::Plugin(Plugin::Reload(reload)) => commands::plugin_reload::plugin_reload(&reload),
        Command::Plugin(Plugin::Check(check)) => commands::plugin_check::plugin_check(&check),
        Command::Plugin(Plugin::TryLoad { file }) => plugins::try_load(&file),
        Command::Password(Password::Set(set)) => commands::password::set(&set),
        Command::Password(Password::Remove(remove)) => commands::password::remove(&remove),
        Command::Password(Password::List(list)) => commands::password::list(&list),
        Command::Password(Password::Check(check)) => commands::password::check(&check),
        Command::Site(Site::Add(add)) => commands::site_edit::add_site(&add),
        Command::Site(Site::Set(set)) => commands::site_edit::set_site(&set),
        Command::Site(Site::Remove(removal)) => commands::site_edit::remove_sites(&removal),
        Command::Site(Site::List(list)) => commands::site_show::list_sites(&list.common),
        Command::Site(Site::Show(show)) => commands::site_show::show_sites(&show.common, &show.names),
        Command::Activator(Activator::Add(add)) => commands::site_edit::add_activator(&add),
        Command::Activator(Activator::Set(set)) => commands::site_edit::set_activator(&set),
        Command::Activator(Activator::Remove(removal)) => commands::site_edit::remove_activators(&removal),
        Command::Activator(Activator::List(list)) => commands::site_show::list_activators(&list.common),
        Command::Activator(Activator::Show(show)) => {
            commands::site_show::show_activators(&show.common, &show.names)
        }
        Command::Import(import) => commands::import::import(&import),
        Command::Status(status) => commands::remote::status(&status.common),
        Command::Reload(reload) => commands::remote::reload(&reload.common),
    }
}

/// Says something to the person at the terminal, on standard error.
fn complain(text: &str) {
    // When standard error is closed there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "sluice: {text}");
}

/// The reader of our output went away; that is no failure of ours.
fn is_broken_pipe(failure: &Failure) -> bool {
    failure.io_kind() == Some(io::ErrorKind::BrokenPipe)
}
