"""What outlives the server: one database, in a file or shared by several servers."""
