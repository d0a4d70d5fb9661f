"""Where is everything stored? Every AnnData slot and every run-file name, once."""

from __future__ import annotations

import os
from pathlib import Path

# AnnData slots of a result (see docs/method.md for the symbols)
DELTA = "delta"  # obsm, (n_cells, n_topics): variational mean, unnormalised
THETA = "theta"  # obsm, (n_cells, n_topics): softmax of delta, rows sum to 1
X_SCETM = "X_scetm"  # obsm: delta again, under a name other viewers list
X_UMAP = "X_umap"  # obsm, (n_cells, 2)
RHO = "rho"  # varm, (n_genes, n_emb)
BETA = "beta"  # varm, (n_genes, n_topics): alpha rho', transposed, unnormalised
ALPHA = "alpha"  # uns, (n_topics, n_emb)
UNS = "scetm"  # uns: settings as JSON text, batch names, lambda
UNS_CONFIG = "config"
UNS_BATCHES = "batches"
UNS_LAMBDA = "lambda"  # (n_batches, n_genes)
UNS_COVARIATES = "covariates"  # names of further intercepts ("donor=H1") and numeric covariates
UNS_COVARIATE_INTERCEPTS = "covariate_intercepts"  # (n_covariates, n_genes)
UNS_RHO_NAMES = "rho_names"  # of the given dimensions of rho, e.g. gene sets; they come first
UNS_FEATURES = "features"  # names of the second modality's features
UNS_FEATURE_RHO = "feature_rho"  # (n_features, n_emb)
UNS_FEATURE_BETA = "feature_beta"  # (n_features, n_topics), unnormalised
LEIDEN = "leiden"  # obs
N_COUNTS = "scetm_n_counts"  # obs: total counts of the cell over the genes of the model

# Columns of a transfer
TRANSFERRED_LABEL = "transferred_label"  # obs: label by vote of the nearest cells of the source
TRANSFER_CONFIDENCE = "transfer_confidence"  # obs: share of the votes that it got
NEAREST_CENTROID = "nearest_centroid"  # obs: label whose mean lies nearest
NOVELTY_P = "novelty_p"  # obs: p-value of being like the source's held-out cells, made of the two below
NOVELTY_P_NLL = "novelty_p_nll"
NOVELTY_P_EXPRESSION = "novelty_p_expression"
UNLIKE_SOURCE = "unlike_source"  # obs: whether the cell is flagged
TARGET_GENE = "target_gene"  # var: the target's gene, or genes, that stand for the model's; "" for none
WAY = "way"  # var: how it was found

# Sources of counts inside an input
RAW = "raw"  # as a layer name: take `adata.raw.X`
MODALITY = "modality"  # obsm of loaded data: counts of the second modality; uns: names of its features

# Files of a run folder
CONFIG_FILE = "config.json"
VOCAB_FILE = "vocab.json"
STATUS_FILE = "status.json"
METRICS_FILE = "metrics.csv"
LOG_FILE = "log.txt"
CANCEL_FILE = "cancel"
LOCK_FILE = ".lock"
CHECKPOINT_FOLDER = "checkpoint"
MODEL_FILE = "model.safetensors"
RESULT_FILE = "result.h5ad"
CHECKSUMS_FILE = "checksums.json"  # SHA-256 of the result
EVALUATION_FILE = "evaluation.json"
TOPIC_NAMES_FILE = "topic_names.json"
COLORS_FILE = "colors.json"  # colours the user has chosen: column -> category -> "#rrggbb"
ENRICHMENT_FOLDER = "enrichment"
DIFFERENTIAL_FOLDER = "differential"
MAP_FOLDER = "map"
EVALUATION_FOLDER = "evaluation"
COMPARISON_FOLDER = "comparison"
SWEEP_FOLDER = "choose_k"
METHODS_TABLE = "methods"  # in comparison: the scores of all methods
TRAININGS_TABLE = "trainings"  # in choose_k: the trainings of a sweep
TRANSFER_FOLDER = "transfer"
SOURCE_DELTA_FILE = "transfer/source_delta.npy"  # of the source's cells, where the encoder was trained on
JOINT_MAP_TABLE = "joint_map"  # in transfer: source and target laid out together
TRANSFER_FILE = "transfer/report.json"  # how the genes fit, and what was done
PUBLISHED_FOLDER = "published"  # files to take away, made on demand
BOARD_FILE = "figure_board.json"  # which panels make the figure
BOARD_FOLDER = "figure_board"  # their figures
TASKS_FOLDER = "tasks"
REQUEST_FILE = "request.json"
COLUMNS_FOLDER = "columns"  # of the user's: labels given to selected cells
DAMAGED_FOLDER = "damaged"  # what `doctor` has put aside, never deleted
SELECTIONS_FOLDER = "selections"  # rules, by their short names

# Folders of a home
RUNS_FOLDER = "runs"
UPLOADS_FOLDER = "uploads"
DEMO_FOLDER = "demo"
GENE_SETS_FOLDER = "gene_sets"
NAMES_FOLDER = "gene_names"  # tables of orthologs and aliases
CACHE_FOLDER = "cache"
LOGS_FOLDER = "logs"  # what the server writes down
FIGURES_FOLDER = "figures"  # in the cache: figures sent by browsers
QUEUE_FOLDER = ".queue"  # jobs that wait and are at work, of all users
WAITING_FOLDER = "waiting"
WORKING_FOLDER = "working"
TURNS_FOLDER = "turns"  # in the queue: number of the last turn of each user
SLOTS_FOLDER = "slots"  # in the queue: a lock for each run that may train
USERS_FOLDER = "users"  # with accounts: the home of each, by name
ACCOUNTS_FILE = "accounts.json"
SECRET_FILE = "secret.key"  # signs sessions

HOME_VARIABLE = "SCETM_HOME"  # of the environment: where the home is


def topic_name(topic: int) -> str:
    """Label of a topic: topics are numbered from 0."""
    return f"topic_{topic}"


def topic_number(text: str) -> int | None:
    """7 for the label "topic_7", None for anything else."""
    number = text.removeprefix("topic_")
    return int(number) if number != text and number.isdecimal() else None


def default_home() -> Path:
    """The home where none is named: as the environment says, or ``~/.scetm``."""
    return Path(os.environ.get(HOME_VARIABLE, "~/.scetm")).expanduser()
