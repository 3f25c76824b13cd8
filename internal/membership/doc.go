// Package membership keeps the members of groups, so that no concurrent change of a group loses a member or keeps one that
// was removed, under any number of replicas and crashes.
//
// A group of up to 500 members has them inline, in its own object. A larger one has them in 128 shards, and names in
// spec.sharding the epoch that is part of the shards' names. A member's shard is a pure function of its id, so that all
// writers agree where it is.
//
//   - Inline, a change is one compare-and-swap of the Group.
//   - A group that grows past the limit flips: the writer draws a random epoch, writes the shards of that epoch, and then
//     commits by compare-and-swap of the Group. Shards of an epoch that the Group does not name are never read, so a writer
//     that crashed, or lost, left nothing that counts.
//   - Sharded, a change is a compare-and-swap of each shard it touches, and then one of the Group, which raises
//     lastModified. That last write fails where the Group is no longer as it was read: then it is read again, and where it
//     names another epoch, or is inline again, or is gone, the change is made anew on what it is now. A change that finds
//     nothing to do reads the Group once more for the same reason. So no change is answered that landed in, or looked at,
//     shards that do not count any more.
//   - Group and shards are not read before they are written where their last known states tell what to write: the
//     compare-and-swap fails where one is another by now. That a change makes no difference, or is refused, only a read can tell.
//   - There is no need to flip back when a group shrinks. Only a replacement of all members by few goes inline: it is one
//     write, whatever the group was.
//
// Every change is a delta, computed on live objects; one that changes nothing writes nothing. A change of several shards is
// not atomic: readers can see a part of it, and so can a crash leave it. The same change, repeated, completes it. Each
// member by itself is as after some order of all changes that agrees with real time.
//
// The package stands between the directory (which makes deltas of SCIM requests, and knows which ids are users), the group
// controller (which removes deleted users, and shards without use) and the API server. Index, beside it, is the same in
// memory, fed by watches: the groups of each user. No HTTP, no SCIM.
package membership
