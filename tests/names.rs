//! Genes have many names: whatever a file calls them, the data and the network must mean the same.

use support::{Project, root};

/// A project that reads a matrix of genes and a network.
fn project(genes: &[&str], network: &str) -> Project {
    let project = Project::new(
        "stages: {cells: {kind: dataset, in: {data: {file: cells.csv}, network: {file: network.csv}}, with: {orient: genes_by_cells}}}",
    );
    let rows: String = genes.iter().map(|gene| format!("{gene},1,2\n")).collect();
    project.write("cells.csv", &format!(",c1,c2\n{rows}"));
    project.write("network.csv", network);
    project
}

/// The genes of the data as they are named in the end.
fn genes(project: &Project) -> Vec<String> {
    let shown = project.cli(&["show", "p.yaml", "cells", "--rows", "9"]).exits(0).stdout.clone();
    let table = shown.split("\ngenes.parquet").nth(1).unwrap().split("\n\n").nth(1).unwrap().to_owned();
    table.lines().skip(1).map(|line| line.split_whitespace().last().unwrap().to_owned()).collect()
}

#[test]
fn a_column_of_symbols_is_proposed_where_genes_are_named_by_ids_and_taken_where_asked() {
    let file = root().join("stages/tests/fixtures/cellxgene.h5ad");
    let project = Project::new(&format!(
        "stages: {{cells: {{kind: dataset, in: {{data: {{file: {}}}, network: {{file: network.csv}}}}, with: {{}}}}}}",
        file.display()
    ));
    project.write("network.csv", "TF,target\nSOX9,SRY\nSRY,DMRT1\n");
    let refused = project.run(&[]);
    refused.exits(1).says("0 of the 3 genes of the network are in the data");
    refused.says(
        "of the column `feature_name` of genes 3 are: `names: {column: feature_name}` takes those names",
    );
    project.edit("with: {}", "with: {names: {column: feature_name}}");
    project
        .run_well(&[])
        .says("2 of 5 genes have no name in `feature_name`, or one that another gene has too");
    assert_eq!(genes(&project), ["SOX9", "SRY", "DMRT1", "ENSG00000184937", "ENSG00000184938"]);
}

#[test]
fn a_network_needs_no_header_and_takes_the_usual_ones() {
    let edges = ["A,B", "B,C"];
    let mut read = Vec::new();
    for header in ["Gene1,Gene2", "TF,target", "tf\tTarget", "source,target", ""] {
        let delimiter = if header.contains('\t') { "\t" } else { "," };
        let lines: Vec<&str> = std::iter::once(header).filter(|line| !line.is_empty()).chain(edges).collect();
        let project = project(&["A", "B", "C"], &lines.join("\n").replace(',', delimiter));
        project.run_well(&[]);
        read.push(std::fs::read(project.artifact("cells").join("network.parquet")).unwrap());
    }
    assert!(read.iter().all(|network| *network == read[0]), "they are the same two edges");
    let unknown = project(&["A", "B"], "regulated,by,how\nA,B,x\n");
    unknown.run(&[]).exits(1).says("names no columns `Gene1` and `Gene2`, or `TF` and `target`");
}

#[test]
fn genes_that_a_spreadsheet_turned_into_dates_are_matched_with_one_warning() {
    for (of_data, of_network) in [("15-Sep", "SEP15"), ("SEP15", "15-Sep")] {
        let project = project(&[of_data, "A"], &format!("TF,target\nA,{of_network}\n"));
        let ran = project.run_well(&[]);
        ran.says(&format!("`{of_data}` is `{of_network}`"));
        assert_eq!(ran.stderr.matches("warning: cells:").count(), 1, "{}", ran.stderr);
        assert_eq!(genes(&project), [of_network, "A"]);
    }
}

#[test]
fn labels_of_genelink_may_have_a_date_where_the_expression_has_the_gene() {
    let project = Project::new("stages: {cells: {kind: dataset, in: {data: {file: folder}}, with: {}}}");
    project.write("folder/BL--ExpressionData.csv", ",c1,c2\nA,1,0\nMARCH1,0,3\nC,0,5\n");
    project.write("folder/BL--network.csv", "Gene1,Gene2\nA,1-Mar\nA,C\n");
    project.write("folder/Target.csv", ",Gene,index\n0,A,0\n1,1-Mar,1\n2,C,2\n");
    let ran = project.run_well(&[]);
    ran.says("a spreadsheet made dates of names of genes: `1-Mar` is `MARCH1`");
    let network = project.cli(&["show", "p.yaml", "cells"]).stdout;
    assert!(network.contains("network.parquet") && network.contains("2 rows"), "{network}");
    project.write("folder/Target.csv", ",Gene,index\n0,A,0\n1,2-Mar,1\n2,C,2\n");
    project.run(&[]).exits(1).says("the gene at index 1 is not that of the expression's row");
}
