"""What do the results look like? `x_frame(result)` gives the table behind a figure, `plot_x(frame)` draws it.

Everything here is pure: nothing is read, written or remembered. A frame that cannot be made is empty and carries
its reason (`frame.attrs["reason"]`); its figure shows that reason.
"""

from scetm_core.figures._colors import category_colors, hard_to_tell_apart, palette
from scetm_core.figures._result import empty_frame, gene_weights, group_colors, topic_label, topic_values
from scetm_core.figures._theme import GRAPH_CONFIG, MAP_CONFIG, TEMPLATE, empty_figure, new_figure
from scetm_core.figures.cell_topics import cell_topic_frame, plot_cell_topic_heatmap
from scetm_core.figures.comparison import plot_maps, plot_tradeoff, tradeoff_frame
from scetm_core.figures.differential import (
    CORRECTIONS,
    differential_frame,
    mark_differential,
    plot_differential_heatmap,
    plot_topic_distribution,
    plot_volcano,
    topic_distribution_frame,
)
from scetm_core.figures.enrichment import manhattan_frame, plot_manhattan, plot_running_sum, running_sum_frame
from scetm_core.figures.evaluation import (
    agreement_frame,
    confusion_frame,
    plot_agreement,
    plot_confusion,
    plot_silhouettes,
    silhouette_frame,
)
from scetm_core.figures.joint_map import (
    Highlight,
    joint_map_frame,
    neighborhood,
    plot_joint_map,
    plot_neighborhood,
)
from scetm_core.figures.pathways import (
    pathway_name,
    pathway_topic_frame,
    pathway_weights,
    plot_pathway_topic_heatmap,
    plot_topics_of_pathway,
    topics_in_use,
    topics_of_pathway_frame,
)
from scetm_core.figures.quality import plot_histogram
from scetm_core.figures.selected import (
    composition_frame,
    expected_genes_frame,
    plot_composition,
    plot_profile,
    profile_frame,
)
from scetm_core.figures.sweep import (
    plot_sweep,
    plot_topic_match,
    plot_topic_stability,
    stability_frame,
    sweep_frame,
    topic_match_frame,
)
from scetm_core.figures.top_genes import plot_top_genes, top_genes_frame
from scetm_core.figures.topic_choice import differential_topics, topics_with_cells
from scetm_core.figures.topic_groups import plot_topic_heatmap, topic_mean_frame
from scetm_core.figures.topics import (
    gene_topic_frame,
    marker_topic_frame,
    plot_gene_topic_heatmap,
    types_marked,
)
from scetm_core.figures.training import plot_training, training_frame
from scetm_core.figures.transfer import (
    flagged_frame,
    plot_flagged,
    plot_topic_use,
    side_frames,
    topic_use_frame,
)
from scetm_core.figures.umap import column_colors, default_point_size, plot_umap, umap_frame

__all__ = [
    "CORRECTIONS",
    "GRAPH_CONFIG",
    "MAP_CONFIG",
    "TEMPLATE",
    "Highlight",
    "agreement_frame",
    "category_colors",
    "cell_topic_frame",
    "column_colors",
    "composition_frame",
    "confusion_frame",
    "default_point_size",
    "differential_frame",
    "differential_topics",
    "empty_figure",
    "empty_frame",
    "expected_genes_frame",
    "flagged_frame",
    "gene_topic_frame",
    "gene_weights",
    "group_colors",
    "hard_to_tell_apart",
    "joint_map_frame",
    "manhattan_frame",
    "mark_differential",
    "marker_topic_frame",
    "neighborhood",
    "new_figure",
    "palette",
    "pathway_name",
    "pathway_topic_frame",
    "pathway_weights",
    "plot_agreement",
    "plot_cell_topic_heatmap",
    "plot_composition",
    "plot_confusion",
    "plot_differential_heatmap",
    "plot_flagged",
    "plot_gene_topic_heatmap",
    "plot_histogram",
    "plot_joint_map",
    "plot_manhattan",
    "plot_maps",
    "plot_neighborhood",
    "plot_pathway_topic_heatmap",
    "plot_profile",
    "plot_running_sum",
    "plot_silhouettes",
    "plot_sweep",
    "plot_top_genes",
    "plot_topic_distribution",
    "plot_topic_heatmap",
    "plot_topic_match",
    "plot_topic_stability",
    "plot_topic_use",
    "plot_topics_of_pathway",
    "plot_tradeoff",
    "plot_training",
    "plot_umap",
    "plot_volcano",
    "profile_frame",
    "running_sum_frame",
    "side_frames",
    "silhouette_frame",
    "stability_frame",
    "sweep_frame",
    "top_genes_frame",
    "topic_distribution_frame",
    "topic_label",
    "topic_match_frame",
    "topic_mean_frame",
    "topic_use_frame",
    "topic_values",
    "topics_in_use",
    "topics_of_pathway_frame",
    "topics_with_cells",
    "tradeoff_frame",
    "training_frame",
    "types_marked",
    "umap_frame",
]
