//! Mail for aliases: who gets a copy, under which envelope sender, and who is told when it cannot go.

use sluice_testkit::{Sink, message};
use sluice_tests::{Destination, SOON, hub};

#[test]
fn each_recipient_of_an_alias_gets_one_copy_and_a_list_has_its_own_sender() {
    let sink = Sink::start();
    let mut hub = hub("alias", &[Destination::direct("tcp_next", "next.example", sink.port())]);
    hub.write("members.txt", "ann@next.example\nbob@next.example\n");
    hub.write("writers.txt", "*@origin.example\n");
    hub.write(
        "aliases",
        "sales: ann@next.example, \\\n  joe@next.example, more\nmore: ann@next.example, kim@next.example\n\
         list: <members.txt, [ENVELOPE_FROM] owner@hub.example, [AUTH_LIST] writers.txt, [ERROR_TEXT] not you\n",
    );
    hub.start();
    let mut client = hub.talk();
    let to = ["sales@hub.example", "list@hub.example"];
    let content = message(1, 2000);
    assert_eq!(client.deliver("a@origin.example", &to, &content).expect("an answer").code, 250);
    let mut got: Vec<(String, String)> = sink
        .wait(2, SOON)
        .iter()
        .flat_map(|one| {
            assert!(
                sluice_testkit::below_received(&one.content) == content,
                "the content is that of the sender"
            );
            one.to.iter().map(|to| (to.clone(), one.from.clone())).collect::<Vec<_>>()
        })
        .collect();
    got.sort();
    let own = |to: &str| (to.to_owned(), "a@origin.example".to_owned());
    let of_list = |to: &str| (to.to_owned(), "owner@hub.example".to_owned());
    // Ann is reached by both names; the first one counts.
    assert_eq!(
        got,
        [
            own("ann@next.example"),
            of_list("bob@next.example"),
            own("joe@next.example"),
            own("kim@next.example")
        ]
    );
    client.want("MAIL FROM:<stranger@elsewhere.example>", 250);
    let reply = client.want("RCPT TO:<list@hub.example>", 550);
    assert_eq!(reply.text(), "5.7.2 not you: list@hub.example");
}

#[test]
fn a_compiled_database_is_used_and_a_reload_takes_a_new_one() {
    let sink = Sink::start();
    let mut hub = hub("alias-database", &[Destination::direct("tcp_next", "next.example", sink.port())]);
    hub.write("alias.txt", "team   ann@next.example\n");
    let configuration = hub.configuration();
    let ran = hub.command(&["compile"]);
    assert!(configuration.join("alias.db").is_file(), "{ran:?}");
    hub.start();
    let mut client = hub.talk();
    client.deliver("a@origin.example", &["team@hub.example"], &message(1, 200)).expect("an answer");
    assert_eq!(sink.wait(1, SOON)[0].to, ["ann@next.example"]);
    hub.write("alias.txt", "team   bob@next.example\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    client.deliver("a@origin.example", &["team@hub.example"], &message(2, 200)).expect("an answer");
    assert_eq!(sink.wait(2, SOON)[1].to, ["bob@next.example"]);
}

#[test]
fn a_list_has_limits_and_asks_a_table_and_a_database_entry_names_a_file() {
    let sink = Sink::start();
    let mut hub = hub("alias-limits", &[Destination::direct("tcp_next", "next.example", sink.port())]);
    hub.write("members.txt", "ann@next.example\nbob@next.example\n");
    hub.write("mappings", "WRITERS\n\n  *@origin.example  $Y\n");
    hub.write("alias.txt", "list  <members.txt, [AUTH_MAPPING] WRITERS, [ERROR_TEXT] \"not you\"\n");
    hub.write("aliases", "small: <members.txt, [BLOCKLIMIT] 2\nshort: <members.txt, [LINELIMIT] 3\n");
    hub.start();
    let mut client = hub.talk();
    client.want("MAIL FROM:<stranger@elsewhere.example>", 250);
    let reply = client.want("RCPT TO:<list@hub.example>", 550);
    assert_eq!(reply.text(), "5.7.2 not you: list@hub.example");
    client.want("RSET", 250);
    client.want("MAIL FROM:<a@origin.example> SIZE=5000", 250);
    client.want("RCPT TO:<small@hub.example>", 552);
    client.want("RSET", 250);
    let small = message(1, 1000);
    let large = message(2, 4000);
    let mut deliver = |to: &str, content: &[u8]| {
        client.deliver("a@origin.example", &[to], content).expect("an answer").code
    };
    assert_eq!(deliver("small@hub.example", &large), 552);
    assert_eq!(deliver("small@hub.example", &small), 250);
    assert_eq!(deliver("short@hub.example", &large), 552);
    assert_eq!(deliver("list@hub.example", &large), 250);
    let mut got: Vec<(usize, String)> = sink
        .wait(2, SOON)
        .iter()
        .flat_map(|one| one.to.iter().map(|to| (one.content.len() / 2000, to.clone())).collect::<Vec<_>>())
        .collect();
    got.sort();
    let name = |name: &str| name.to_owned();
    assert_eq!(
        got,
        [
            (0, name("ann@next.example")),
            (0, name("bob@next.example")),
            (2, name("ann@next.example")),
            (2, name("bob@next.example"))
        ]
    );
}
