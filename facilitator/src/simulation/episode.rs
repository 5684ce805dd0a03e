//! Random steps, then peace, then the verdict.

use std::collections::HashSet;

use chains_core::transaction::BroadcastResult;
use chains_fake::{Clarity, Lie, NodeFault, SendStep};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::task::JoinHandle;

use super::{
    process::Process,
    scene::{Draft, Scene, WALLETS},
    verdict,
};
use crate::{payment::SettleOutcome, settlement::SettlementId, store::memory::WriteFault};

/// Payments of an episode, at most.
const PAYMENTS_MAX: usize = 24;

/// Steps after a reorg in which an end may rest on what was seen before it.
const CALM_STEPS: u32 = 10;

/// Rounds of peace until everything must have ended.
const PEACE_ROUNDS: u32 = 600;

/// Blocks that a reorg takes back, at most.
pub(super) const REORG_MAX: u64 = 3;

/// Milliseconds by which the machine's clock jumps, at most: longer than payments are valid.
const JUMP_MAX: u64 = 120_000;

/// A payment, and the answers that its callers got.
pub(super) struct Story {
    pub draft: Draft,
    /// The key of each request, and its answer.
    pub answers: Vec<(Option<String>, SettleOutcome)>,
    /// True when the payer or a stranger has acted on it.
    pub meddled: bool,
    /// The chain's time when a reorg last made its nonce good again.
    pub good_again: Option<u64>,
}

struct Asked {
    story: usize,
    key: Option<String>,
    answer: JoinHandle<SettleOutcome>,
}

/// One run from an empty disk to the verdict.
pub(super) struct Episode {
    random: StdRng,
    scene: Scene,
    process: Option<Process>,
    stories: Vec<Story>,
    asked: Vec<Asked>,
    steps: u64,
    /// The highest block that was ever final: none up to it is taken back.
    final_height: u64,
    /// Steps since the chain took a block back.
    since_reorg: u32,
    settled: HashSet<SettlementId>,
    /// Hashes of what was found to be dead, or to be cancelled.
    given_up: HashSet<String>,
}

impl Episode {
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let scene = Scene::new(&mut random);
        Self {
            random,
            scene,
            process: None,
            stories: vec![],
            asked: vec![],
            steps: 0,
            final_height: 0,
            since_reorg: 0,
            settled: HashSet::new(),
            given_up: HashSet::new(),
        }
    }

    /// Runs it; the number of steps, and the promise that was broken, if one was.
    pub fn run(mut self) -> (u64, Option<String>) {
        let wanted = self.random.random_range(100..400);
        while self.steps < wanted {
            self.step();
            if let Some(broken) = self.look() {
                return (self.steps, Some(broken));
            }
        }
        let broken = self.peace().or_else(|| verdict::at_the_end(&self.scene, &self.stories));
        (self.steps, broken)
    }

    fn process(&mut self) -> &Process {
        self.process.get_or_insert_with(|| Process::start(&self.scene))
    }

    fn step(&mut self) {
        self.steps += 1;
        self.since_reorg += 1;
        self.final_height = self.final_height.max(self.scene.world.final_height());
        let world = self.scene.world.clone();
        match self.random.random_range(0..100) {
            0..14 => self.pay(),
            14..20 => self.pay_again(),
            20..38 => self.turn(),
            38..57 => self.wait(),
            57..72 => world.mine(),
            72..76 => self.reorg(),
            76..79 => self.give_a_fault(),
            79 => self.jump(),
            80..82 => world.echo(self.random.random_range(0..usize::MAX)),
            82..85 => world.lose_pool(),
            85..89 => self.disturb_a_send(),
            89..91 => self.crash(),
            91..93 => self.meddle(),
            93 => drop(world.take_nonce(WALLETS[self.random.random_range(0..WALLETS.len())])),
            94..96 => world.set_clarity(self.clarity()),
            96 => world.set_price(self.random.random_range(1..4)),
            97 => world.set_broken(!world.is_broken()),
            _ => self.scene.disk.fail(if self.random.random() { WriteFault::Fails } else { WriteFault::AnswerLost }),
        }
    }

    fn pay(&mut self) {
        if self.stories.len() >= PAYMENTS_MAX {
            return self.wait();
        }
        let draft = self.scene.draw(&mut self.random);
        self.stories.push(Story { draft, answers: vec![], meddled: false, good_again: None });
        self.ask(self.stories.len() - 1);
    }

    fn pay_again(&mut self) {
        if !self.stories.is_empty() {
            let story = self.random.random_range(0..self.stories.len());
            self.ask(story);
        }
    }

    fn ask(&mut self, story: usize) {
        let draft = self.stories[story].draft.clone();
        let key = self.random.random::<bool>().then(|| format!("key-of-payment-{:08}", draft.nonce));
        let request = self.scene.request(&draft);
        let answer = self.process().ask(request, key.clone());
        self.asked.push(Asked { story, key, answer });
    }

    fn turn(&mut self) {
        let turns = self.random.random_range(1..12);
        self.process().turn(turns);
        self.hear();
    }

    fn wait(&mut self) {
        let millis = if self.random.random_ratio(1, 10) { 1_500 } else { self.random.random_range(1..150) };
        self.let_pass(millis);
        self.hear();
    }

    fn let_pass(&mut self, millis: u64) {
        self.process();
        if let Some(process) = &self.process {
            process.wait(&self.scene, millis);
        }
    }

    /// Takes the answers that have come.
    fn hear(&mut self) {
        let Some(process) = &self.process else { return };
        let (there, waiting) = self.asked.drain(..).partition(|asked| asked.answer.is_finished());
        self.asked = waiting;
        let there: Vec<Asked> = there;
        for Asked { story, key, answer } in there {
            self.stories[story].answers.push((key, process.answer(answer)));
        }
    }

    fn reorg(&mut self) {
        self.since_reorg = 0;
        let scene = &self.scene;
        let is_used = |story: &&mut Story| scene.world.is_used(&story.draft.payer, &story.draft.nonce);
        self.stories.iter_mut().filter(is_used).for_each(|story| story.good_again = Some(scene.time()));
        for _ in 0..self.random.random_range(1..=REORG_MAX) {
            if self.scene.world.height() > self.final_height {
                self.scene.world.unmine();
            }
        }
    }

    /// The next send fares badly: at one node, or at several.
    fn disturb_a_send(&mut self) {
        let unknown = || BroadcastResult::Unknown("no answer in time".to_owned());
        let step = match self.random.random_range(0..5) {
            0 => SendStep::LoseAndAnswer(unknown()),
            1 => SendStep::LoseAndAnswer(BroadcastResult::Accepted),
            2 => SendStep::ArriveAndAnswer(unknown()),
            3 => SendStep::ArriveAndAnswer(BroadcastResult::NonceTooLow),
            _ => SendStep::LoseAndAnswer(BroadcastResult::PoolFull),
        };
        let times = self.random.random_range(1..=self.scene.world.nodes());
        self.scene.world.script(vec![step; times]);
    }

    fn clarity(&mut self) -> Clarity {
        match self.random.random_range(0..4) {
            0 => Clarity::Never,
            1 => Clarity::ByInvestigation,
            _ => Clarity::AtOnce,
        }
    }

    /// Kills the process wherever its tasks are; who waits hears nothing.
    fn crash(&mut self) {
        self.asked.clear();
        self.process = None;
    }

    /// The machine's clock is set, to an earlier or a later time.
    fn jump(&mut self) {
        let millis = self.random.random_range(1..=JUMP_MAX);
        if self.random.random() {
            self.scene.clock.advance(millis);
        } else {
            self.scene.clock.set_back(millis);
        }
    }

    /// One of several nodes has a fault, and no other has one.
    fn give_a_fault(&mut self) {
        let (world, nodes) = (self.scene.world.clone(), self.scene.world.nodes());
        (0..nodes).for_each(|node| world.set_fault(node, NodeFault::None));
        let fault = match self.random.random_range(0..6) {
            0 => NodeFault::None,
            1 => NodeFault::Silent,
            2 | 3 => NodeFault::Lags(self.random.random_range(1..8)),
            _ => NodeFault::Lies(Lie::ALL[self.random.random_range(0..Lie::ALL.len())]),
        };
        if nodes > 1 || mistake!(OneNodeDecides) {
            world.set_fault(self.random.random_range(0..nodes), fault);
        }
    }

    /// A stranger executes a payment, or its payer cancels it.
    fn meddle(&mut self) {
        if self.stories.is_empty() {
            return;
        }
        let place = self.random.random_range(0..self.stories.len());
        let story = &mut self.stories[place];
        let transfer = story.draft.transfer();
        if self.scene.world.is_used(&transfer.from, &transfer.nonce) {
            return;
        }
        story.meddled = true;
        if self.random.random() {
            drop(self.scene.world.execute_elsewhere(transfer));
        } else {
            self.scene.world.cancel(&transfer.from, &transfer.nonce);
        }
    }

    /// A promise that must hold at any moment and does not.
    fn look(&mut self) -> Option<String> {
        let died = self.process.as_ref().and_then(Process::died);
        let broken = died.map(|task| format!("{task} panicked")).or_else(|| verdict::at_any_time(&self.scene));
        broken.or_else(|| self.look_at_ends()).or_else(|| self.look_at_what_is_given_up())
    }

    /// Returns true when no reorg was lately: an end may rest on what was seen before one.
    fn is_calm(&self) -> bool {
        self.since_reorg > CALM_STEPS
    }

    /// A payment that was settled just now in a block that is not deep enough.
    fn look_at_ends(&mut self) -> Option<String> {
        let settled = self.scene.disk.settled();
        let fresh: Vec<_> = settled.into_iter().filter(|facts| self.settled.insert(facts.id)).collect();
        let calm = self.is_calm();
        fresh.iter().filter(|_| calm).find_map(|facts| verdict::settled_too_early(&self.scene, facts))
    }

    /// A transaction that was given up just now, and that the chain has or could have.
    fn look_at_what_is_given_up(&mut self) -> Option<String> {
        let is_known = |hash: &str| self.given_up.contains(hash);
        let fresh = self.scene.disk.given_up(is_known);
        self.given_up.extend(fresh.iter().map(|transaction| transaction.newest().hash.clone()));
        let (is_calm, scene, stories) = (self.is_calm(), &self.scene, &self.stories);
        let buried = fresh.iter().filter(|_| is_calm).find_map(|transaction| verdict::buried_alive(scene, transaction));
        buried.or_else(|| fresh.iter().find_map(|transaction| verdict::cancelled_in_vain(scene, stories, transaction)))
    }

    /// Nothing goes wrong any more: everything must come to its end, and a new payment must settle.
    fn peace(&mut self) -> Option<String> {
        let world = self.scene.world.clone();
        world.unscript();
        world.set_broken(false);
        world.set_clarity(Clarity::AtOnce);
        world.set_price(1);
        (0..world.nodes()).for_each(|node| world.set_fault(node, NodeFault::None));
        self.scene.disk.heal();
        for round in 0..PEACE_ROUNDS {
            world.mine();
            self.let_pass(if round % 50 == 49 { 60_000 } else { 300 });
            self.hear();
            if let Some(broken) = self.look() {
                return Some(broken);
            }
            if self.asked.is_empty() && verdict::unfinished(&self.scene).is_none() {
                return self.one_more();
            }
        }
        let what = verdict::unfinished(&self.scene).unwrap_or_else(|| "a request without an answer".to_owned());
        Some(format!("it does not end: {what}"))
    }

    /// The service still takes payments.
    fn one_more(&mut self) -> Option<String> {
        let draft = self.scene.draw_good();
        let world = self.scene.world.clone();
        let mut last = None;
        for _ in 0..40 {
            let request = self.scene.request(&draft);
            let asked = self.process().ask(request, Some("key-of-the-last-payment".to_owned()));
            for _ in 0..6 {
                self.let_pass(100);
                world.mine();
            }
            let outcome = self.process().answer(asked);
            if matches!(outcome, SettleOutcome::Settled { .. }) {
                return None;
            }
            last = Some(outcome);
        }
        Some(format!("a good payment is not settled at the end: {last:?}"))
    }
}
