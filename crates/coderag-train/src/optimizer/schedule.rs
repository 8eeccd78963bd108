use serde::{Deserialize, Serialize};

/// How the learning rate goes from step to step: up in a straight line from 0, and then down.
///
/// Steps count from 0, so the first step of a warm-up changes nothing. Equal to transformers'
/// `get_constant_schedule_with_warmup`, `get_linear_schedule_with_warmup` and
/// `get_cosine_schedule_with_warmup`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Settings")]
pub struct Schedule {
    /// What comes after the warm-up.
    pub decay: Decay,
    /// How long the warm-up is.
    #[serde(flatten)]
    pub warm_up: WarmUp,
}

/// What the learning rate does after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// It stays.
    Constant,
    /// It falls in a straight line to 0 at the end.
    Linear,
    /// It falls along half a cosine to 0 at the end.
    Cosine,
}

/// How long the learning rate rises.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum WarmUp {
    /// This many steps.
    #[serde(rename = "warm_up_steps")]
    Steps(u64),
    /// This part of all steps, rounded up.
    #[serde(rename = "warm_up_ratio")]
    Ratio(f64),
}

/// [`Schedule`] as a configuration has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    decay: Option<Decay>,
    warm_up_steps: Option<u64>,
    warm_up_ratio: Option<f64>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { decay: Decay::Linear, warm_up: WarmUp::Steps(0) }
    }
}

impl TryFrom<Settings> for Schedule {
    type Error = String;

    fn try_from(settings: Settings) -> Result<Self, String> {
        let defaults = Self::default();
        let warm_up = match (settings.warm_up_steps, settings.warm_up_ratio) {
            (Some(_), Some(_)) => {
                return Err("give `warm_up_steps` or `warm_up_ratio`, not both".to_owned());
            }
            (_, Some(ratio)) if !(0.0..1.0).contains(&ratio) => {
                return Err(format!(
                    "`warm_up_ratio` is {ratio} and must be from 0 to below 1; steps are given by \
                     `warm_up_steps`"
                ));
            }
            (_, Some(ratio)) => WarmUp::Ratio(ratio),
            (Some(steps), None) => WarmUp::Steps(steps),
            (None, None) => defaults.warm_up,
        };
        Ok(Self { decay: settings.decay.unwrap_or(defaults.decay), warm_up })
    }
}

impl Schedule {
    /// The part of the full learning rate at a step, counted from 0, of `total` steps.
    pub fn factor(&self, step: u64, total: u64) -> f64 {
        let warm_up = self.warm_up.steps(total);
        if step < warm_up {
            return step as f64 / warm_up as f64;
        }
        let falling = total.saturating_sub(warm_up).max(1) as f64;
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => total.saturating_sub(step) as f64 / falling,
            Decay::Cosine => {
                // transformers' `num_cycles` of one half, multiplied in its order.
                let progress = (step - warm_up) as f64 / falling;
                let angle = std::f64::consts::PI * 0.5 * 2.0 * progress;
                (0.5 * (1.0 + angle.cos())).max(0.0)
            }
        }
    }
}

impl WarmUp {
    /// The number of steps, of `total`, as transformers rounds it.
    pub fn steps(self, total: u64) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Ratio(ratio) => (total as f64 * ratio).ceil() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Schedule, String> {
        coderag_core::config::parse(text, "train.toml").map_err(|error| error.to_string())
    }

    #[test]
    fn a_schedule_is_read_from_its_settings_and_written_as_them() {
        assert_eq!(read("").unwrap(), Schedule::default());
        let schedule = read("decay = 'cosine'\nwarm_up_ratio = 0.1\n").unwrap();
        assert_eq!(schedule, Schedule { decay: Decay::Cosine, warm_up: WarmUp::Ratio(0.1) });
        let written = serde_json::to_value(schedule).unwrap();
        assert_eq!(written, serde_json::json!({ "decay": "cosine", "warm_up_ratio": 0.1 }));
        assert_eq!(serde_json::from_value::<Schedule>(written).unwrap(), schedule);
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        assert!(read("warm_up_steps = 1\nwarm_up_ratio = 0.1\n").unwrap_err().contains("not both"));
        assert!(read("warm_up_ratio = 1.5\n").unwrap_err().contains("`warm_up_steps`"));
        let unknown = read("warm_up = 3\n").unwrap_err();
        assert!(unknown.contains("did you mean `warm_up_"), "{unknown}");
    }
}
