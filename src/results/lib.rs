//! Everything that people look at: tables, comparisons, plots and reports of a cache's contents.

pub mod cell; // cells of tables as text
pub mod compare; // variants side by side
pub mod diff; // two artifacts side by side
pub mod drawing; // the graph as a picture
pub mod exhibit; // content of files that can be shown
pub mod markup; // escaping for XML and HTML
pub mod metrics; // metrics in artifacts
pub mod output; // standard output: results
pub mod plot; // figures as SVG
pub mod preview; // the first rows of a file
pub mod report; // a pipeline as people show it
pub mod statistics; // spread, paired differences, significance
pub mod warned; // warnings in artifacts
pub mod yardsticks; // what curves are held against
