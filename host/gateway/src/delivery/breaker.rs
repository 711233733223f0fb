//! When a next hop that answers counts as one that cannot be used: it refuses, or puts off, nearly all that it is
//! offered. Pure.

use mail::{EnhancedCode, Failure, Outcome};
use std::collections::VecDeque;

/// What one mail came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// For at least one recipient.
    Taken,
    /// 5yz, with the code that it gave, about what, and in which words.
    Refused(u16, Option<EnhancedCode>, About, String),
    /// 4yz.
    PutOff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The sender or a recipient, before any data.
    Envelope,
    /// The whole mail, as it had it.
    Content,
}

/// The last mails of a lane.
#[derive(Clone, Debug, Default)]
pub struct Recent(VecDeque<Answer>);

const REMEMBERED: usize = 10;
/// Of those that are remembered.
const MOST: usize = 8;

impl Answer {
    /// None where the next hop has decided nothing, as when the connection broke.
    pub fn of(outcomes: &[Outcome], about: About) -> Option<Self> {
        let said = |failure: &Failure| failure.reply.as_ref().filter(|_| failure.next_hop.is_some()).cloned();
        let mut answer = None;
        for outcome in outcomes {
            match outcome {
                Outcome::Delivered(_) => return Some(Self::Taken),
                Outcome::Failed(failure) => {
                    let refused = said(failure)
                        .map(|reply| Self::Refused(reply.code, reply.enhanced, about, reply.text.into_owned()));
                    answer = refused.or(answer);
                }
                Outcome::Deferred(failure) if answer.is_none() => answer = said(failure).map(|_| Self::PutOff),
                Outcome::Deferred(_) => {}
            }
        }
        answer
    }

    /// A refusal that speaks of this one mail, or of one mailbox (RFC 3463: 5.1.1 and its kin), and of no other.
    fn is_about_one(&self) -> bool {
        match self {
            Self::Refused(_, _, About::Content, _) => true,
            Self::Refused(_, Some(code), About::Envelope, _) => {
                code.subject == 1 || (code.subject, code.detail) == (2, 1)
            }
            Self::Refused(_, None, About::Envelope, _) | Self::Taken | Self::PutOff => false,
        }
    }
}

impl Recent {
    pub fn note(&mut self, answer: Answer) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(answer);
    }

    /// Most of the last mails got the same refusal. Unknown mailboxes and unwanted content are no news from a next
    /// hop that is trusted, and what is about one client or address says so in other words each time; from one that is
    /// `doubted` the code alone may be the news that it is the wrong one.
    pub fn is_refusing(&self, doubted: bool) -> bool {
        let alike = |one: &Answer, other: &Answer| match (one, other) {
            (Answer::Refused(code, enhanced, ..), Answer::Refused(other, of_other, ..)) if doubted => {
                (code, enhanced) == (other, of_other)
            }
            _ => one == other,
        };
        let same = |answer: &Answer| self.0.iter().filter(|other| alike(answer, other)).count();
        self.0.iter().any(|answer| {
            matches!(answer, Answer::Refused(..)) && (doubted || !answer.is_about_one()) && same(answer) >= MOST
        })
    }

    /// All of the last mails were put off.
    pub fn is_putting_off(&self) -> bool {
        self.0.len() == REMEMBERED && self.0.iter().all(|answer| *answer == Answer::PutOff)
    }

    pub fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::{FailureKind, Reply};

    fn refused(text: &str) -> Answer {
        Answer::Refused(550, Some(text.parse().unwrap()), About::Envelope, "no".into())
    }

    fn recent(answers: impl IntoIterator<Item = Answer>) -> Recent {
        let mut recent = Recent::default();
        answers.into_iter().for_each(|answer| recent.note(answer));
        recent
    }

    #[test]
    fn the_same_refusal_for_most_mails_opens_and_different_ones_do_not() {
        assert!(recent(vec![refused("5.7.1"); 8]).is_refusing(false));
        assert!(!recent(vec![refused("5.7.1"); 7]).is_refusing(false));
        let mixed = (0..10).map(|n| refused(if n % 2 == 0 { "5.7.1" } else { "5.6.0" }));
        assert!(!recent(mixed).is_refusing(true));
        let recovering = vec![refused("5.7.1"); 10].into_iter().chain(vec![Answer::Taken; 3]);
        assert!(!recent(recovering).is_refusing(true));
    }

    #[test]
    fn unknown_mailboxes_and_spam_are_no_news_unless_the_next_hop_is_doubted() {
        let spam = Answer::Refused(550, Some("5.7.1".parse().unwrap()), About::Content, "spam".into());
        for answer in [refused("5.1.1"), spam] {
            let recent = recent(vec![answer; 10]);
            assert!(!recent.is_refusing(false) && recent.is_refusing(true));
        }
    }

    #[test]
    fn the_same_code_in_other_words_each_time_is_about_each_and_not_about_all() {
        let named = |n: u32| Answer::Refused(550, None, About::Envelope, format!("user{n} is unknown"));
        let guesses = recent((0..10).map(named));
        assert!(!guesses.is_refusing(false) && guesses.is_refusing(true));
    }

    #[test]
    fn putting_off_is_when_nothing_else_was_heard() {
        assert!(recent(vec![Answer::PutOff; 10]).is_putting_off());
        assert!(!recent(vec![Answer::PutOff; 9]).is_putting_off());
        assert!(!recent(vec![Answer::PutOff; 10].into_iter().chain([Answer::Taken])).is_putting_off());
    }

    #[test]
    fn one_recipient_that_is_taken_makes_a_mail_taken_and_a_broken_connection_says_nothing() {
        let hop = "mx.example:25".parse().unwrap();
        let failure = |code: u16, reply: bool| Failure {
            reply: reply.then(|| Reply::new(code, (code as u8 / 100, 0, 0), "x")),
            ..Failure::new(FailureKind::Other, Some(&hop), "x")
        };
        let failed = || Outcome::Failed(failure(550, true));
        let taken = Outcome::Delivered(Reply::new(250, (2, 0, 0), "ok"));
        let of = |outcomes: &[Outcome]| Answer::of(outcomes, About::Envelope);
        assert_eq!(of(&[failed(), taken]), Some(Answer::Taken));
        assert!(matches!(of(&[Outcome::Deferred(failure(450, true)), failed()]), Some(Answer::Refused(550, ..))));
        assert_eq!(of(&[Outcome::Deferred(failure(450, true))]), Some(Answer::PutOff));
        assert_eq!(of(&[Outcome::Deferred(failure(450, false))]), None);
        let our_own = Failure { next_hop: None, ..failure(550, true) };
        assert_eq!(of(&[Outcome::Failed(our_own)]), None, "what we refuse is no news of the next hop");
    }
}
