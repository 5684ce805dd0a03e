//! Several instances over one disk. Each has a time of its own, which stands still
//! while it is not turned to: so one that is left alone for the lease of a gas wallet
//! is a process that was stopped, and goes on later as an owner that is none any more.

use std::collections::HashSet;

use chains_core::clock::Clock as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::task::JoinHandle;

use super::{
    episode::Story,
    mutant::Mutant,
    number,
    process::Process,
    scene::{Scene, WALLETS},
    verdict,
};
use crate::{
    payment::SettleOutcome,
    settlement::{Record, Transaction},
    store::memory::WriteFault,
};

/// Steps of an ordinary run.
const STEPS: u64 = 60_000;

/// Episodes in which a mistake must be found.
const EPISODES_MAX: u64 = 300;

/// Instances of an episode.
const INSTANCES: usize = 3;

/// Payments of an episode, at most.
const PAYMENTS_MAX: usize = 24;

/// Rounds of peace until everything must have ended.
const PEACE_ROUNDS: u32 = 600;

/// The time for which an instance goes on while the others stand still, at most:
/// longer than a lease.
const ALONE_MAX: u64 = 14_000;

struct Asked {
    instance: usize,
    story: usize,
    key: Option<String>,
    answer: JoinHandle<SettleOutcome>,
}

struct Cluster {
    random: StdRng,
    scene: Scene,
    instances: [Option<Process>; INSTANCES],
    stories: Vec<Story>,
    asked: Vec<Asked>,
    /// Payments all of whose callers were told that nothing was begun, since nobody asks for them.
    refused: HashSet<usize>,
    /// Payments of which a caller heard nothing, as its instance is gone.
    unheard: HashSet<usize>,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let scene = Scene::new(&mut random);
        Self {
            random,
            scene,
            instances: Default::default(),
            stories: vec![],
            asked: vec![],
            refused: HashSet::new(),
            unheard: HashSet::new(),
        }
    }

    /// Runs an episode; the number of steps, and the promise that was broken, if one was.
    fn run(mut self) -> (u64, Option<String>) {
        let wanted = self.random.random_range(100..300);
        for step in 0..wanted {
            self.step();
            if let Some(broken) = self.look() {
                return (step, Some(broken));
            }
        }
        let broken = self.peace().or_else(|| verdict::at_the_end(&self.scene, &self.stories));
        (wanted, broken)
    }

    fn any(&mut self) -> usize {
        self.random.random_range(0..INSTANCES)
    }

    fn instance(&mut self, number: usize) -> &Process {
        let scene = &self.scene;
        self.instances[number].get_or_insert_with(|| Process::instance(scene, &format!("instance-{number}")))
    }

    fn step(&mut self) {
        let (instance, world) = (self.any(), self.scene.world.clone());
        match self.random.random_range(0..100) {
            0..14 => self.pay(instance),
            14..22 => self.pay_again(instance),
            22..40 => {
                let turns = self.random.random_range(1..12);
                self.instance(instance).turn(turns);
            }
            40..64 => {
                let millis = self.random.random_range(1..150);
                self.let_pass(instance, millis);
            }
            64..80 => world.mine(),
            80..84 => world.lose_pool(),
            84..88 => self.crash(instance),
            88..95 => {
                let millis = self.random.random_range(1_000..ALONE_MAX);
                self.let_pass(instance, millis);
            }
            _ => self.scene.disk.fail(if self.random.random() { WriteFault::Fails } else { WriteFault::AnswerLost }),
        }
        self.hear();
    }

    fn pay(&mut self, instance: usize) {
        if self.stories.len() < PAYMENTS_MAX {
            let draft = self.scene.draw(&mut self.random);
            self.stories.push(Story { draft, answers: vec![], meddled: false, good_again: None });
            self.ask(instance, self.stories.len() - 1);
        }
    }

    fn pay_again(&mut self, instance: usize) {
        if !self.stories.is_empty() {
            let story = self.random.random_range(0..self.stories.len());
            self.ask(instance, story);
        }
    }

    fn ask(&mut self, instance: usize, story: usize) {
        self.refused.remove(&story);
        let draft = self.stories[story].draft.clone();
        let key = self.random.random::<bool>().then(|| format!("key-of-payment-{:08}", draft.nonce));
        let request = self.scene.request(&draft);
        let answer = self.instance(instance).ask(request, key.clone());
        self.asked.push(Asked { instance, story, key, answer });
    }

    fn let_pass(&mut self, instance: usize, millis: u64) {
        self.instance(instance);
        if let Some(process) = &self.instances[instance] {
            process.wait(&self.scene, millis);
        }
    }

    /// Takes the answers that have come.
    fn hear(&mut self) {
        let (there, waiting) = self.asked.drain(..).partition(|asked: &Asked| asked.answer.is_finished());
        self.asked = waiting;
        let there: Vec<Asked> = there;
        for Asked { instance, story, key, answer } in there {
            if let Some(process) = &self.instances[instance] {
                let answer = process.answer(answer);
                let is_refused = matches!(answer, SettleOutcome::Unavailable(_)) && !self.unheard.contains(&story);
                if is_refused && self.asked.iter().all(|asked| asked.story != story) && self.record(story).is_none() {
                    self.refused.insert(story);
                }
                self.stories[story].answers.push((key, answer));
            }
        }
    }

    /// Kills an instance wherever its tasks are; who waits for it hears nothing.
    fn crash(&mut self, instance: usize) {
        let (gone, asked) = self.asked.drain(..).partition(|asked: &Asked| asked.instance == instance);
        self.asked = asked;
        self.unheard.extend(gone.iter().map(|asked: &Asked| asked.story));
        self.instances[instance] = None;
    }

    fn look(&self) -> Option<String> {
        let died = self.instances.iter().flatten().find_map(Process::died);
        let broken = died.map(|why| format!("an instance ended: {why}"));
        let broken = broken.or_else(|| verdict::at_any_time(&self.scene)).or_else(|| self.look_at_epochs());
        broken.or_else(|| self.look_at_refused())
    }

    fn record(&self, story: usize) -> Option<Record> {
        self.scene.disk.record(&self.scene.identity(&self.stories[story].draft))
    }

    /// A payment was begun after everybody had been told that it was not.
    fn look_at_refused(&self) -> Option<String> {
        let begun = self.refused.iter().find_map(|story| Some((story, self.record(*story)?)));
        begun.map(|(story, record)| format!("begun for nobody: {:?} {record:?}", self.stories[*story].answers))
    }

    /// An owner that was none any more has given a nonce out.
    fn look_at_epochs(&self) -> Option<String> {
        let settlements = self.scene.disk.settlements();
        let all = settlements.iter().flat_map(|followed| &followed.transactions);
        WALLETS.into_iter().find_map(|wallet| {
            let mut own: Vec<&Transaction> = all.clone().filter(|one| one.gas_wallet == wallet).collect();
            own.sort_by_key(|transaction| transaction.nonce);
            let falls = own.windows(2).find(|pair| pair[0].epoch > pair[1].epoch);
            falls.map(|pair| format!("an older epoch above a newer one: {pair:?}"))
        })
    }

    /// Nothing goes wrong any more: everything must come to its end, and a new payment must settle.
    fn peace(&mut self) -> Option<String> {
        let world = self.scene.world.clone();
        self.scene.disk.heal();
        for _ in 0..PEACE_ROUNDS {
            world.mine();
            for instance in 0..INSTANCES {
                self.let_pass(instance, 300);
            }
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

    /// Some instance still takes a payment, as behind a load balancer.
    fn one_more(&mut self) -> Option<String> {
        let draft = self.scene.draw_good();
        let world = self.scene.world.clone();
        let mut last = None;
        for round in 0..120 {
            let (request, instance) = (self.scene.request(&draft), round % INSTANCES);
            let asked = self.instance(instance).ask(request, Some("key-of-the-last-payment".to_owned()));
            for _ in 0..6 {
                (0..INSTANCES).for_each(|instance| self.let_pass(instance, 100));
                world.mine();
            }
            let outcome = self.instance(instance).answer(asked);
            if matches!(outcome, SettleOutcome::Settled { .. }) {
                return None;
            }
            last = Some(outcome);
        }
        Some(format!("a good payment is not settled at the end, at {:?}: {last:?}", self.scene.clock.now()))
    }
}

#[test]
fn instances_that_stop_crash_and_come_back_break_no_promise() {
    let (steps, mut seed) = (number("SIMULATION_STEPS", STEPS), number("SIMULATION_SEED", 1));
    let mut made = 0;
    while made < steps {
        let (count, broken) = Cluster::new(seed).run();
        if let Some(sentence) = broken {
            panic!("episode {seed}, after {made} steps: {sentence}");
        }
        made += count;
        seed += 1;
    }
}

#[test]
fn mistakes_that_only_several_instances_can_make_are_found() {
    let mutants = [
        Mutant::WritesUnfenced,
        Mutant::RecoversNothing,
        Mutant::ForgetsLostCommits,
        Mutant::ReceivesWhatIsWithdrawn,
        Mutant::WithdrawsNothing,
    ];
    for mutant in mutants {
        let _seeded = mutant.seed();
        let found = (1..=EPISODES_MAX).find_map(|seed| Cluster::new(seed).run().1);
        assert!(found.is_some(), "{mutant:?} is found by no episode");
    }
}
