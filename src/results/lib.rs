//! What people look at: tables, comparisons, plots and reports of what lies in a cache.

pub mod compare; // variants side by side
pub mod diff; // two artifacts side by side
pub mod drawing; // the graph as a picture
pub mod exhibit; // what a file holds that can be shown
pub mod markup; // text within XML and HTML
pub mod metrics; // the numbers that an artifact holds
pub mod output; // standard output: results
pub mod plot; // figures as SVG
pub mod preview; // the first rows of a file
pub mod report; // a pipeline as people show it
pub mod statistics; // spread, paired differences, chance
