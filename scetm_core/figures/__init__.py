"""What do the results look like? `x_frame(result)` gives the table behind a figure, `plot_x(frame)` draws it.

Everything here is pure: nothing is read, written or remembered. A frame that cannot be made is empty and carries
its reason (`frame.attrs["reason"]`); its figure shows that reason.
"""

from scetm_core.figures._colors import category_colors, palette
from scetm_core.figures._result import gene_weights, topic_label, topic_values
from scetm_core.figures._theme import GRAPH_CONFIG, MAP_CONFIG, TEMPLATE, empty_figure, new_figure
from scetm_core.figures.cell_topics import cell_topic_frame, plot_cell_topic_heatmap
from scetm_core.figures.quality import plot_histogram
from scetm_core.figures.topic_groups import plot_topic_heatmap, topic_mean_frame
from scetm_core.figures.topics import (
    gene_topic_frame,
    plot_gene_topic_heatmap,
    plot_top_genes,
    top_genes_frame,
)
from scetm_core.figures.training import plot_training, training_frame
from scetm_core.figures.umap import default_point_size, plot_umap, umap_frame

__all__ = [
    "GRAPH_CONFIG",
    "MAP_CONFIG",
    "TEMPLATE",
    "category_colors",
    "cell_topic_frame",
    "default_point_size",
    "empty_figure",
    "gene_topic_frame",
    "gene_weights",
    "new_figure",
    "palette",
    "plot_cell_topic_heatmap",
    "plot_gene_topic_heatmap",
    "plot_histogram",
    "plot_top_genes",
    "plot_topic_heatmap",
    "plot_training",
    "plot_umap",
    "top_genes_frame",
    "topic_label",
    "topic_mean_frame",
    "topic_values",
    "training_frame",
    "umap_frame",
]
