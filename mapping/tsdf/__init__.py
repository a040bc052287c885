"""The fused volume: sparse blocks of voxels that hold sums, how frames are added, and how it is rendered and meshed."""
