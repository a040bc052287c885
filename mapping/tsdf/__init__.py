"""The fused volume: sparse blocks of voxels with sums over frames; fusion, rendering and meshing."""
