"""scetm_core: train the single-cell Embedded Topic Model and look at what it found.

Map of the package, from the bottom up (arrows point down only)::

    errors, keys     what can go wrong; where everything is stored
    settings         how a setting is declared, checked, shown and stored
    config           every setting with its label, meaning and range;  presets: bundles to start from
    genesets         reading .gmt
    data/            reading counts, the pre-flight check, demo data, simulation
    model/           ScETM (encode, elbo), its parts (rho, intercepts), the fused likelihood, the start, minibatches
    build            data + settings -> an untrained model
    trainer          one training: steps, reports, checks, the way back;  checkpoints: its state on disk
    train, infer     fit(model, ...) yields records; fitted model + data -> result AnnData
    embedding        neighbours, Leiden clusters, UMAP of a result
    metrics/         one score a file: arrays in, floats out
    judgement        what looks wrong with the topics or the training, in words
    figures/         x_frame(result) -> DataFrame, plot_x(frame) -> plotly Figure
    files            writing without half-written files
    runs, jobs       one run = one folder; starting and stopping its worker
    worker           the whole analysis of one run, top to bottom

Importing this module imports nothing else: pick what you need, e.g. ``from scetm_core.train import fit``.
"""

__version__ = "0.1.0"
