"""What somebody who may see a recording gets of it: links and where they lead, ranges of files, playlists, archives."""
