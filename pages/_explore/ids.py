"""What are the parts of the Explore page called?"""

UMAP = "explore-umap"
JOINT = "explore-joint"
COLOR = "explore-color"
SIZE = "explore-point-size"
LABELS = "explore-labels"
TOPIC = "explore-topic"
GROUPBY = "explore-groupby"

GENES = "explore-genes"
GROUPS = "explore-groups"
FOLLOWS = "explore-follows"

COMPOSITION, COMPOSITION_BESIDE = "explore-composition", "explore-composition-beside"
PROFILE = "explore-profile"
EXPECTED = "explore-expected-genes"
AGAINST = "explore-against"
SAID = "explore-said"
CHANGED = "explore-changed"  # counts changes of the user's columns
