"""Which ids do the parts of the topics page share? Those of one part only stand at the top of its file."""

from __future__ import annotations

TOPIC = "topics-topic"  # the topic in focus, its number as text
GROUPBY = "topics-groupby"
SHOWN = "topics-shown"  # Store: numbers of the topics in the heatmaps, or None for those worth showing
NAMES = "topics-names"  # Store: {"topic_7": "beta cells"}, as the run has them

GENES = "gene-topic-heatmap"
MEANS = "topic-means-heatmap"
CELLS = "cell-topic-heatmap"
TOP_GENES = "top-genes-bar"
TOPIC_MAP = "topic-umap"
