"""What somebody does who means harm, against the API in this process and the real server."""
