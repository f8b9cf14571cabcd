"""A policy that climbs a learned critic, from replayed experience."""
