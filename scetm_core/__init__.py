"""scetm_core: train the single-cell Embedded Topic Model and look at what it found.

Map of the package, from the bottom up (arrows point down only)::

    errors, keys     what can go wrong; where everything is stored
    settings         how a setting is declared, checked, shown and stored
    config           every setting with its label, meaning and range;  presets: bundles to start from
    gene_names       which name in one list is which in another;  orthologs: human <-> mouse
    gene_alignment   which gene of a new data set is which of a trained model
    genesets         gene sets from .gmt and marker tables, matched to a data set's genes
    markers          known markers of cell types, and names for topics from them;  libraries: sets by name
    data/            reading counts, the pre-flight check, demo data, simulation
    model/           ScETM (encode, elbo), its parts (rho, intercepts), the fused likelihood, the start, minibatches
    build            data + settings -> an untrained model
    trainer          one training: steps, reports, checks, the way back;  checkpoints: its state on disk
    train, infer     fit(model, ...) yields records; fitted model + data -> result AnnData
    transfer         a trained model for other cells: genes, settings (transfer_settings), counts (aligned_data)
    label_transfer   labels of a source given to a target;  novelty: cells unlike the source
    embedding        neighbours, Leiden clusters, UMAP of a result
    evaluation       all scores of an embedding, with standard errors
    peers            other methods;  comparison: runs and scores them
    sweep            trainings over numbers of topics and seeds;  choice: which number to take
    metrics/         one score a file: arrays in, floats out
    enrichment       GSEA of topics;  differential: permutation tests of topics;  joint_map: genes beside topics
    judgement        what looks wrong with the topics or the training, in words
    figures/         x_frame(result) -> DataFrame, plot_x(frame) -> plotly Figure
    files            writing without half-written files;  checksums: is a file still what was written?
    jobfolder        status, log and cancel marker of a piece of work
    runs, jobs       one run = one folder (curve_file, older); its worker, started and stopped;  supervisor: its end
    links            whose links the way to a file of a run may lead through
    doctor           what is wrong in a home, and what can be mended (doctor_run, findings)
    worker           one run from where it stands to its end
    analysis         what happens in a run, top to bottom;  transfer_analysis: in a transfer
    requests, tasks  what can be asked of a finished run, and how far that is;  answers: working it out

Importing this module imports nothing else: pick what you need, e.g. ``from scetm_core.train import fit``.
"""

__version__ = "0.1.0"
