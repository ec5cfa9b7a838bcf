//! `adopt`: reuses an old artifact under a new key if only code or device differ, and records that it did.

use super::PipelineArgs;
use clap::Args;
use contract::stage::Kind;
use engine::error::{Error, Result};
use engine::event::{Ended, Event, Sink};
use engine::graph::Graph;
use engine::key::Recipe;
use engine::plan::Selection;
use engine::reason::Reason;
use engine::run;
use engine::runlog::RunLog;
use engine::state::State;
use engine::store::{Claim, Store};
use engine::survey::Survey;
use petgraph::graph::NodeIndex;
use results::output;
use serde_json::{Value, json};

/// Reuse the earlier artifact of a step if nothing but its code or device has changed
#[derive(Args)]
pub struct Adopt {
    #[command(flatten)]
    source: PipelineArgs,
    /// The steps to adopt, producers before their consumers
    #[arg(required_unless_present = "all")]
    steps: Vec<String>,
    /// Adopt every step that is due only because the program changed
    #[arg(long, conflicts_with = "steps")]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Adopt {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        let (graph, store) = self.source.load(kinds)?;
        store.prepare()?;
        // Logged like any other run: its record protects the drafts from being swept or collected.
        let mut log = RunLog::create(&store)?;
        let arguments = std::env::args().collect();
        log.hear(&Event::Begun(run::begun(log.run(), graph, self.steps.len(), arguments)))?;
        log.flush()?;
        let mut adopted = Vec::new();
        for name in &self.steps {
            let node = graph.find(name)?;
            // Adopting a producer may have settled this step's inputs, so survey again each time.
            let survey = Survey::until(graph, &store, node)?;
            adopted.push(self.adopt(&survey, node, &mut log)?);
        }
        if self.all {
            while self.adopt_all(graph, &store, &mut log, &mut adopted)? {}
        }
        log.hear(&Event::Ended(Ended {
            run: log.run().to_owned(),
            computed: 0,
            cached: adopted.len(),
            skipped: 0,
            failed: 0,
            seconds: log.began().elapsed().as_secs_f64(),
        }))?;
        log.close()?;
        match (self.json, adopted.as_slice()) {
            (true, adopted) => output::write_json(&adopted)?,
            (false, []) => output::write("no step is due only because the program changed\n")?,
            (false, _) => {}
        }
        Ok(0)
    }

    /// Adopts every step that can be adopted now. Returns whether there were any: their consumers may then be due.
    fn adopt_all(
        &self,
        graph: &Graph,
        store: &Store,
        log: &mut RunLog,
        adopted: &mut Vec<Value>,
    ) -> Result<bool> {
        let survey = Survey::new(graph, store, &Selection::default())?;
        let before = adopted.len();
        for node in survey.plan.due() {
            if survey.program_alone_changed(*node)? {
                adopted.push(self.adopt(&survey, *node, log)?);
            }
        }
        Ok(adopted.len() > before)
    }

    fn adopt(&self, survey: &Survey<'_>, node: NodeIndex, log: &mut RunLog) -> Result<Value> {
        let graph = survey.plan.graph();
        let step = &graph.steps[node].name;
        let refuse = |why: String| Err(Error::Usage(format!("{step} cannot be adopted: {why}")));
        match survey.plan.state(node) {
            State::Due(_) => {}
            State::Waiting(_) => {
                let before = survey.waits_next(node).map(|node| graph.steps[node].name.clone());
                return refuse(format!(
                    "it waits for {}; adopt or run that first",
                    before.unwrap_or_default()
                ));
            }
            State::Cached(_) => return refuse("it has an artifact already".to_owned()),
            other => return refuse(format!("it is {}", other.word())),
        }
        let changes = match survey.reason(node)? {
            Reason::Changed { changes, .. } => changes,
            other => return refuse(format!("there is no earlier artifact to take ({other})")),
        };
        if let Some(change) =
            changes.iter().find(|change| !["code", "device"].contains(&change.component.as_str()))
        {
            return refuse(format!("more than code and device differs ({change}); run it"));
        }
        let (old, _) = survey.history.last(step).expect("a changed step has an earlier key");
        let recipe = survey.recipe(node).expect("the inputs of a step that is due are known");
        let canonical = recipe.canonical();
        let key = Recipe::key(&canonical);
        let draft = format!("{}.{}.0", log.run(), node.index());
        match survey.store.claim(key, &draft, false)? {
            Claim::Hit(_) => {}
            Claim::Busy(_) => return refuse("a run is computing it right now".to_owned()),
            Claim::Draft(draft) => draft.adopt(old, &canonical, changes.clone())?,
        }
        let warnings = survey.store.manifest(key)?.map_or(0, |manifest| manifest.warnings.len());
        log.hear(&Event::Cached { step: step.clone(), key, warnings })?;
        if !self.json {
            output::write(&format!("adopted {step}: {} now stands for {}\n", old.short(), key.short()))?;
        }
        Ok(json!({"step": step, "key": key, "from": old, "changes": changes}))
    }
}
