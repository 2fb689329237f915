// SPDX-License-Identifier: GPL-2.0

//! How the device misbehaves: rules for commands, and what it does to kicks and interrupts.

use std::time::Duration;

use crate::gpu::{
    render::{
        CAPSET,
        CAPSET_INFO, //
    },
    HEADER, //
};

/// The types of commands, with the names that requests have for them.
pub const KINDS: [(&str, u32); 21] = [
    ("display-info", 0x100),
    ("create", 0x101),
    ("unref", 0x102),
    ("scanout", 0x103),
    ("flush", 0x104),
    ("transfer", 0x105),
    ("attach", 0x106),
    ("detach", 0x107),
    ("capset-info", 0x108),
    ("capset", 0x109),
    ("edid", 0x10a),
    ("ctx-create", 0x200),
    ("ctx-destroy", 0x201),
    ("ctx-attach", 0x202),
    ("ctx-detach", 0x203),
    ("create-3d", 0x204),
    ("to-host", 0x205),
    ("from-host", 0x206),
    ("submit", 0x207),
    ("update-cursor", 0x300),
    ("move-cursor", 0x301),
];

/// The name of all types, and of all contexts.
const ANY: &str = "any";

/// Returns a type by its name; `None` inside for `any`.
pub fn kind(name: &str) -> Option<Option<u32>> {
    if name == ANY {
        return Some(None);
    }
    KINDS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, kind)| Some(*kind))
}

/// What happens to a command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// The queue stops at the command until the device resumes.
    Stall,
    /// The queue stops at the command for so long, then goes on.
    Slow(Duration),
    /// The command is executed and answered with the others, so much later.
    Late(Duration),
    /// The command is executed and answered when the device resumes.
    Never,
    /// The command is not executed, and answered by this error.
    Refuse(u32),
    /// The command is executed, and the queue then has a used index that cannot be.
    Spoil,
    /// The command is executed, and its answer is not true.
    Lie(Lie),
}

/// What is not true about an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lie {
    /// It names the fence after its own.
    Fence,
    /// It names another context.
    Context,
    /// It is longer than there was room for.
    Length,
}

/// Fences of contexts with a name are not answered, or so much later.
#[derive(Clone, Debug, PartialEq)]
struct Hold {
    name: String,
    time: Option<Duration>,
    keeps: bool,
}

/// A rule for the commands of one type, or of all.
#[derive(Clone, Debug, PartialEq)]
struct Rule {
    kind: Option<u32>,
    /// The rule begins with this command, counted from 1.
    from: u64,
    /// It ends with this one.
    to: u64,
    seen: u64,
    act: Act,
    fired: u64,
}

/// What a driver that starts the device does not find as it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The device is none of version 1.
    Version,
    /// It takes no features.
    Features,
    /// It has one feature less.
    Fewer,
    /// It does not end a reset.
    Reset,
    /// It has no cursor queue.
    Queue,
    /// The size of the control queue is no power of two.
    Size,
    /// It does not enable a queue.
    Enable,
    /// It takes no message.
    Message,
    /// A queue is kicked beyond the registers.
    Notify,
    /// It has more heads than any device may have.
    Heads,
    /// Its configuration never holds still.
    Generation,
    /// It has more capsets than it could tell of.
    Capsets,
    /// A capset has a number that none may have.
    CapsetId,
    /// A capset is said to have all bytes that a number can tell.
    CapsetHuge,
    /// Half of what a capset is said to have comes.
    CapsetShort,
    /// A capset is said to have no bytes.
    CapsetEmpty,
}

impl Fault {
    /// Changes the answer to a question about capsets.
    pub fn distort(self, kind: u32, answer: &mut Vec<u8>) {
        let (at, byte) = match (self, kind) {
            (Self::CapsetId, CAPSET_INFO) => (HEADER, 0xff),
            (Self::CapsetHuge, CAPSET_INFO) => (HEADER + 8, 0xff),
            (Self::CapsetEmpty, CAPSET_INFO) => (HEADER + 8, 0),
            (Self::CapsetShort, CAPSET) => return answer.truncate(HEADER.max(answer.len() / 2)),
            _ => return,
        };
        if let Some(field) = answer.get_mut(at..at + 4) {
            field.fill(byte);
        }
    }
}

/// All faults, with the names that requests have for them.
pub const FAULTS: [(&str, Fault); 16] = [
    ("version", Fault::Version),
    ("features", Fault::Features),
    ("fewer", Fault::Fewer),
    ("reset", Fault::Reset),
    ("queue", Fault::Queue),
    ("size", Fault::Size),
    ("enable", Fault::Enable),
    ("message", Fault::Message),
    ("notify", Fault::Notify),
    ("heads", Fault::Heads),
    ("generation", Fault::Generation),
    ("capsets", Fault::Capsets),
    ("capset-id", Fault::CapsetId),
    ("capset-huge", Fault::CapsetHuge),
    ("capset-short", Fault::CapsetShort),
    ("capset-empty", Fault::CapsetEmpty),
];

/// Returns a fault by its name.
pub fn fault(name: &str) -> Option<Fault> {
    let known = FAULTS.iter().find(|(known, _)| *known == name);
    known.map(|(_, fault)| *fault)
}

/// All of the device's misbehaviour.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    rules: Vec<Rule>,
    holds: Vec<Hold>,
    /// Kicks are counted, and lost.
    pub ignores_kicks: bool,
    /// Interrupts are lost.
    pub withholds_interrupts: bool,
    /// All reads are ones, writes are lost.
    pub gone: bool,
    /// A reset takes so long.
    pub slow_reset: Duration,
    pub fault: Option<Fault>,
}

impl Script {
    /// Adds a rule, for the `from`-th command of the type from now and all later ones.
    pub fn add(&mut self, kind: Option<u32>, from: u64, act: Act) {
        self.add_some(kind, from, u64::MAX, act);
    }

    /// Adds a rule for the `nth` command of the type from now, and no other.
    pub fn add_one(&mut self, kind: Option<u32>, nth: u64, act: Act) {
        self.add_some(kind, nth, nth, act);
    }

    fn add_some(&mut self, kind: Option<u32>, from: u64, to: u64, act: Act) {
        self.rules.push(Rule {
            kind,
            from,
            to,
            seen: 0,
            act,
            fired: 0,
        });
    }

    /// Decides about a command that the device has found. Rules that came later go first.
    pub fn decide(&mut self, kind: u32) -> Option<Act> {
        let mut chosen = None;
        for rule in self.rules.iter_mut().rev() {
            if rule.kind.is_some_and(|wanted| wanted != kind) {
                continue;
            }
            rule.seen += 1;
            if chosen.is_none() && (rule.from..=rule.to).contains(&rule.seen) {
                rule.fired += 1;
                chosen = Some(rule.act);
            }
        }
        chosen
    }

    /// From now on fences of contexts with this name, or of all, are not answered, or so much later.
    /// The end of the context ends that, unless it `keeps` them.
    pub fn hold(&mut self, name: &str, time: Option<Duration>, keeps: bool) {
        self.holds.push(Hold {
            name: name.into(),
            time,
            keeps,
        });
    }

    /// Fences are answered again.
    pub fn release(&mut self) {
        self.holds.clear();
    }

    /// Decides about a fence of a context with this name, of which what came later goes first:
    /// `None` if it is not held, else for how long, and whether it is kept.
    pub fn holds(&self, name: &str) -> Option<(Option<Duration>, bool)> {
        let is_it = |hold: &&Hold| hold.name == name || hold.name == ANY;
        let hold = self.holds.iter().rev().find(is_it)?;
        Some((hold.time, hold.keeps))
    }

    /// How often rules applied to a command since the last resume.
    pub fn fired(&self) -> u64 {
        self.rules.iter().map(|rule| rule.fired).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUSH: u32 = 0x104;
    const TRANSFER: u32 = 0x105;

    #[test]
    fn names_are_known() {
        assert_eq!(kind("transfer"), Some(Some(TRANSFER)));
        assert_eq!(kind("any"), Some(None));
        assert_eq!(kind("capset"), Some(Some(CAPSET)));
        assert_eq!(kind("capsets"), None);
        assert_eq!(fault("heads"), Some(Fault::Heads));
        assert_eq!(fault("tails"), None);
    }

    #[test]
    fn a_rule_begins_with_its_command() {
        let mut script = Script::default();
        script.add(Some(TRANSFER), 3, Act::Stall);
        for expected in [None, None, Some(Act::Stall), Some(Act::Stall)] {
            assert_eq!(script.decide(FLUSH), None);
            assert_eq!(script.decide(TRANSFER), expected);
        }
        assert_eq!(script.fired(), 2);
    }

    #[test]
    fn a_rule_may_be_for_one_command() {
        let mut script = Script::default();
        script.add_one(None, 2, Act::Spoil);
        for expected in [None, Some(Act::Spoil), None] {
            assert_eq!(script.decide(FLUSH), expected);
        }
        assert_eq!(script.fired(), 1);
    }

    #[test]
    fn the_later_rule_goes_first() {
        let mut script = Script::default();
        script.add(None, 1, Act::Slow(Duration::from_millis(5)));
        script.add(Some(FLUSH), 2, Act::Refuse(0x1200));
        assert_eq!(
            script.decide(FLUSH),
            Some(Act::Slow(Duration::from_millis(5)))
        );
        assert_eq!(script.decide(FLUSH), Some(Act::Refuse(0x1200)));
        assert_eq!(
            script.decide(TRANSFER),
            Some(Act::Slow(Duration::from_millis(5)))
        );
        script = Script::default();
        assert_eq!(script.decide(FLUSH), None);
    }

    #[test]
    fn fences_are_held_by_the_name_of_their_context() {
        let mut script = Script::default();
        script.hold("a", None, false);
        script.hold(ANY, Some(Duration::from_millis(5)), true);
        script.hold("b", None, true);
        assert_eq!(script.holds("b"), Some((None, true)));
        let short = Some((Some(Duration::from_millis(5)), true));
        assert_eq!(script.holds("a"), short);
        assert_eq!(script.holds(""), short);
        script.release();
        assert_eq!(script.holds("b"), None);
    }

    #[test]
    fn a_fault_distorts_the_answer_about_capsets() {
        let answer = vec![1; HEADER + 16];
        for (fault, kind, changed) in [
            (Fault::CapsetId, CAPSET_INFO, Some((24, 4, 0xff))),
            (Fault::CapsetHuge, CAPSET_INFO, Some((32, 4, 0xff))),
            (Fault::CapsetEmpty, CAPSET_INFO, Some((32, 4, 0))),
            (Fault::CapsetShort, CAPSET_INFO, None),
            (Fault::CapsetHuge, CAPSET, None),
        ] {
            let (mut expected, mut found) = (answer.clone(), answer.clone());
            if let Some((at, length, byte)) = changed {
                expected[at..at + length].fill(byte);
            }
            fault.distort(kind, &mut found);
            assert_eq!(found, expected, "{fault:?}");
        }
        let mut found = answer.clone();
        Fault::CapsetShort.distort(CAPSET, &mut found);
        assert_eq!(found.len(), HEADER);
        // An error has no more than a header.
        let mut error = vec![0; HEADER];
        Fault::CapsetHuge.distort(CAPSET_INFO, &mut error);
        assert_eq!(error, vec![0; HEADER]);
    }
}
