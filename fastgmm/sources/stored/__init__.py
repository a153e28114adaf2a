"""Arrays that lie in chunks in a store and are read where they lie: Zarr's, HDF5's.

What a store cuts an array into are its chunks; what they are put together to are the blocks of
the same row grid as for any other file.
"""
